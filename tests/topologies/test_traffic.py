"""A user relies on: what crosses a network is seen on its side, whatever its medium, and what it drops."""

from __future__ import annotations

import pytest

from tests.topologies.conftest import Place
from tests.topologies.traffic import send_numbered
from topologies.builder import NoSuchLab, destroy
from topologies.builder.control import counters, set_network
from topologies.builder.outages import set_cut
from topologies.builder.traffic import traffic
from topologies.model import Impairments

pytestmark = pytest.mark.root

COUNT = 100


@pytest.mark.parametrize("topology", ["two-fddi", "two-fddi-switched"])
def test_what_crosses_a_network_and_what_it_drops_is_counted(place: Place, topology: str) -> None:
    record = place.deploy(topology)
    source, middle = record.hosts["source"].namespace, record.hosts["middle"].namespace
    before = traffic(record)
    assert len(send_numbered(source, middle, "10.1.0.2", COUNT)) == COUNT
    ring, quiet = traffic(record)["ring-a"], traffic(record)["ring-b"]
    crossed = ring["bytes"] - before["ring-a"]["bytes"]
    assert crossed >= COUNT * 42
    link, other = ring["links"]["middle"], ring["links"]["source"]
    assert link["to_bytes"] - before["ring-a"]["links"]["middle"]["to_bytes"] >= COUNT * 42
    assert other["from_bytes"] - before["ring-a"]["links"]["source"]["from_bytes"] >= COUNT * 42
    assert (ring["backlog_bytes"], set(ring["drops"].values())) == (0, {0})
    assert quiet["bytes"] == before["ring-b"]["bytes"] and set(quiet["links"]) == {"middle", "sink"}
    # The same numbers as the ones that experiments read.
    port = next(one.peer for one in record.hosts["middle"].interfaces if one.network == "ring-a")
    assert counters(record)[f"ring-a.{port}.tx_bytes"] == link["to_bytes"]

    record = set_network(record, "ring-a", 100.0, Impairments(loss=1.0))

    def lost(place: str) -> int:
        found: int = traffic(record)["ring-a"]["drops"][place]
        return found

    assert send_numbered(source, middle, "10.1.0.2", COUNT, lambda: lost("impairment")) == []
    record = set_cut(record, "ring-a", None, True)
    assert send_numbered(source, middle, "10.1.0.2", COUNT, lambda: lost("cut")) == []
    assert (lost("impairment"), lost("cut")) == (COUNT, COUNT)
    destroy(record.lab, place.run_root)
    with pytest.raises(NoSuchLab):
        traffic(record)
