"""A user relies on: what is cut passes nothing, frames that meet a cut are counted, healing mends it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from tests.topologies.conftest import Place
from tests.topologies.traffic import send_numbered
from topologies.builder import NoSuchLab, Record, read_record
from topologies.builder.control import counters, set_network
from topologies.builder.outages import set_cut, set_stopped
from topologies.cgroups import HostCgroup
from topologies.model import Impairments

pytestmark = pytest.mark.root

COUNT = 100


def counted(record: Record, host: str, field: str, network: str = "ring-a") -> Callable[[], int]:
    port = next(i.peer for i in record.hosts[host].interfaces if i.network == network)
    return lambda: counters(record).get(f"{network}.{port}.{field}", 0)


def arrive(record: Record, dropped: Callable[[], int] = lambda: 0) -> int:
    """How many of `COUNT` datagrams from the source reach the middle host; the others are counted."""
    source, middle = record.hosts["source"].namespace, record.hosts["middle"].namespace
    return len(send_numbered(source, middle, "10.1.0.2", COUNT, dropped))


@pytest.mark.parametrize("topology", ["two-fddi", "two-fddi-switched"])
def test_a_cut_network_passes_nothing_counts_it_and_is_healed(place: Place, topology: str) -> None:
    record = place.deploy(topology)
    assert arrive(record) == COUNT
    record = set_cut(record, "ring-a", None, True)
    lost = counted(record, "source", "cut_in_drops")
    for total in (COUNT, 2 * COUNT):
        assert arrive(record, lost) == 0
        assert lost() == total
    middle, sink = record.hosts["middle"].namespace, record.hosts["sink"].namespace
    assert len(send_numbered(middle, sink, "10.2.0.2", COUNT)) == COUNT
    assert read_record(place.lab, place.run_root) == record
    record = set_cut(set_cut(record, "ring-a", None, False), "ring-a", None, False)
    assert arrive(record) == COUNT
    assert lost() == 2 * COUNT


def test_the_cut_link_of_one_host_leaves_the_others(place: Place) -> None:
    record = place.deploy()
    assert arrive(record) == COUNT
    record = set_cut(record, "ring-a", "middle", True)
    lost = counted(record, "middle", "cut_out_drops")
    assert arrive(record, lost) == 0
    assert (lost(), counted(record, "source", "cut_in_drops")()) == (COUNT, 0)
    back = counted(record, "middle", "cut_in_drops")
    middle, source = record.hosts["middle"].namespace, record.hosts["source"].namespace
    assert send_numbered(middle, source, "10.1.0.1", COUNT, back) == []
    # A network that is cut and healed does not heal the link.
    record = set_cut(set_cut(record, "ring-a", None, True), "ring-a", None, False)
    assert arrive(record, lost) == 0
    assert arrive(set_cut(record, "ring-a", "middle", False)) == COUNT


def test_a_cut_and_a_loss_are_counted_apart(place: Place) -> None:
    record = place.deploy()
    assert arrive(record) == COUNT
    record = set_network(record, "ring-a", 100, Impairments(loss=1.0))
    impaired, cut = (counted(record, "source", field) for field in ("impairment_drops", "cut_in_drops"))
    assert arrive(record, impaired) == 0
    record = set_cut(record, "ring-a", None, True)
    assert arrive(record, cut) == 0
    assert (impaired(), cut()) == (COUNT, COUNT)
    record = set_network(set_cut(record, "ring-a", None, False), "ring-a", 100, Impairments())
    assert arrive(record) == COUNT


def test_a_stopped_host_has_no_processes_and_no_traffic_until_it_is_started(place: Place) -> None:
    record = place.deploy()
    assert arrive(record) == COUNT
    group = HostCgroup(record.hosts["middle"].cgroup)
    with subprocess.Popen(["sleep", "1000"]) as process:
        group.attach(process.pid, "io")
        record = set_stopped(record, "middle", True)
        assert process.wait() == -9
    assert group.processes() == []
    lost = counted(record, "middle", "cut_out_drops")
    assert arrive(record, lost) == 0
    record = set_stopped(record, "middle", False)
    assert arrive(record) == COUNT
    assert read_record(place.lab, place.run_root) == record


def test_what_is_not_there_is_said(place: Place) -> None:
    record = place.deploy()
    with pytest.raises(NoSuchLab, match="no network 'ring-z'"):
        set_cut(record, "ring-z", None, True)
    with pytest.raises(NoSuchLab, match="'sink' is not a station of network 'ring-a'"):
        set_cut(record, "ring-a", "sink", True)
    with pytest.raises(NoSuchLab, match="no host 'nobody'"):
        set_stopped(record, "nobody", True)
    place.destroy()
    with pytest.raises(NoSuchLab):
        set_cut(record, "ring-a", None, True)
