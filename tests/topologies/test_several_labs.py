"""A user relies on: labs of the same topology stand side by side, share nothing, and go alone."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tests.topologies.conftest import Place
from tests.topologies.traffic import send, send_numbered
from topologies.builder import Record
from topologies.builder.control import counters, set_network
from topologies.builder.outages import set_cut

pytestmark = pytest.mark.root


@pytest.fixture
def neighbour(place: Place) -> Iterator[Place]:
    """A second lab under the same run root."""
    here = replace(place, lab=f"{place.lab}-b")
    yield here
    here.destroy()


def ends(record: Record) -> tuple[str, str]:
    return record.hosts["source"].namespace, record.hosts["middle"].namespace


def test_two_labs_of_one_topology_share_nothing(place: Place, neighbour: Place) -> None:
    one, other = place.deploy(), neighbour.deploy()
    assert not set(one.namespaces()) & set(other.namespaces())
    assert not {host.cgroup for host in one.hosts.values()} & {host.cgroup for host in other.hosts.values()}
    assert one.run_dir != other.run_dir
    # Names, numbers and addresses of interfaces are the same, each in a namespace of its own.
    assert [h.interfaces for h in one.hosts.values()] == [h.interfaces for h in other.hosts.values()]
    before = counters(other)
    assert send(*ends(one), "10.1.0.2", 0.3, 60).missing() == []
    after = counters(other)
    assert [n for n in after if after[n] != before[n] and not n.startswith("cpu")] == []
    with ThreadPoolExecutor(2) as pool:
        flows = [pool.submit(send, *ends(lab), "10.1.0.2", 1.0, 70) for lab in (one, other)]
        assert [flow.result().missing() for flow in flows] == [[], []]


def test_what_happens_to_one_lab_does_not_happen_to_the_other(place: Place, neighbour: Place) -> None:
    one, other = place.deploy(), neighbour.deploy()
    with ThreadPoolExecutor(1) as pool:
        flow = pool.submit(send, *ends(other), "10.1.0.2", 1.0, 60)
        one = set_cut(set_network(one, "ring-a", 10), "ring-a", None, True)
        place.destroy()
        assert flow.result().missing() == []
    assert not [name for name in place.remains() if neighbour.lab not in name]
    assert len(send_numbered(*ends(other), "10.1.0.2", 100)) == 100
    assert other.networks["ring-a"].rate_mbps == 100 and not other.networks["ring-a"].cut
    place.deploy()
    assert len(send_numbered(*ends(one), "10.1.0.2", 100)) == 100
