"""A user relies on: a network has the rate it was given, holds senders back, loses nothing, counts right."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.topologies.conftest import Place
from tests.topologies.traffic import LAST, SIZE, send
from topologies import Topology, load_topology, resolve
from topologies.builder import LabError, NoSuchLab, Record, read_record
from topologies.builder.control import counters, set_network

pytestmark = pytest.mark.root

HEADERS = 42
FRAME = SIZE + HEADERS


def switched() -> Topology:
    value = resolve("two-fddi").model_dump(mode="json")
    for network in value["networks"].values():
        network["medium"] = "switched"
    return load_topology(value)


def hosts(record: Record) -> tuple[str, str, str]:
    source, middle, sink = (record.hosts[name].namespace for name in ("source", "middle", "sink"))
    return source, middle, sink


@pytest.mark.parametrize("medium", ["shared", "switched"])
def test_93_percent_of_the_ring_loses_nothing(place: Place, medium: str) -> None:
    source, middle, _ = hosts(place.deploy("two-fddi" if medium == "shared" else switched()))
    flow = send(source, middle, "10.1.0.2", 1, 93)
    assert flow.missing() == []
    assert 90 < flow.mbps < 101  # a sender that was held up catches up as fast as the ring goes


@pytest.mark.parametrize("medium", ["shared", "switched"])
def test_a_sender_that_offers_more_is_held_back_and_loses_nothing(place: Place, medium: str) -> None:
    record = place.deploy("two-fddi" if medium == "shared" else switched())
    source, middle, _ = hosts(record)
    flow = send(source, middle, "10.1.0.2", 1.5, 150)
    assert flow.missing() == []
    assert flow.mbps == pytest.approx(99, abs=2)
    assert not {
        name: count for name, count in counters(record).items() if "ring" in name and "drop" in name and count
    }


def test_a_burst_to_a_station_nobody_has_asked_for_yet_loses_nothing(fddi: Record) -> None:
    source, middle, _ = hosts(fddi)
    flow = send(source, middle, "10.1.0.2", 0.02, 5000)
    assert flow.sent > 100 and flow.missing() == []


def test_two_stations_share_the_ring(fddi: Record) -> None:
    source, middle, _ = hosts(fddi)
    with ThreadPoolExecutor(2) as pool:
        there = pool.submit(send, source, middle, "10.1.0.2", 1.5, 90)
        back = pool.submit(send, middle, source, "10.1.0.1", 1.5, 90)
        flows = there.result(), back.result()
    assert [flow.missing() for flow in flows] == [[], []]
    stats = counters(fddi)
    # Both together, over the time that either lasted, had one ring and no more.
    assert stats["ring-a.i1.qdisc_overlimits"] > 0
    both = sorted(flows[0].arrivals + flows[1].arrivals)
    assert (len(both) - 1) * SIZE * 8 / (both[-1] - both[0]) / 1e6 < 101


def test_the_other_ring_is_not_slowed(fddi: Record) -> None:
    source, middle, sink = hosts(fddi)
    with ThreadPoolExecutor(2) as pool:
        full = pool.submit(send, source, middle, "10.1.0.2", 1, 60)
        other = pool.submit(send, middle, sink, "10.2.0.2", 1, 60)
        assert full.result().missing() == other.result().missing() == []
        assert full.result().mbps + other.result().mbps > 105


def test_counters_tell_what_passed(fddi: Record) -> None:
    source, middle, _ = hosts(fddi)
    before = counters(fddi)
    flow = send(source, middle, "10.1.0.2", 0.5, 50)
    after = counters(fddi)
    gained = {name: after[name] - before[name] for name in after}
    frames, octets = flow.sent + 1, flow.sent * FRAME + len(LAST) + HEADERS
    arp = gained["ring-a.i1.qdisc_sent_packets"] - frames
    assert 0 <= arp <= 20  # more than a few where the hosts did not run for seconds
    for name in ("source.eth0.tx", "ring-a.p1.rx", "ring-a.i1.tx", "ring-a.p2.tx", "middle.eth0.rx"):
        assert frames <= gained[f"{name}_packets"] <= frames + arp
        assert octets <= gained[f"{name}_bytes"] <= octets + arp * 64
    assert gained["ring-a.i1.qdisc_sent_bytes"] >= octets
    assert gained["ring-b.i2.qdisc_sent_packets"] == 0
    assert after["ring-a.i1.qdisc_backlog_packets"] == 0
    assert any(name.startswith("cpu") and name.endswith(".backlog_dropped") for name in after)


@pytest.mark.parametrize("medium", ["shared", "switched"])
def test_a_rate_is_changed_and_lifted_without_a_gap(place: Place, medium: str) -> None:
    record = place.deploy("two-fddi" if medium == "shared" else switched())
    source, middle, _ = hosts(record)
    stop = threading.Event()

    def change() -> None:
        current = record
        while not stop.is_set():
            for rate in (50.0, None, 200.0, 40.0):
                current = set_network(current, "ring-a", rate)
                stop.wait(0.05)

    changer = threading.Thread(target=change)
    changer.start()
    try:
        flow = send(source, middle, "10.1.0.2", 1.5, 60)
    finally:
        stop.set()
        changer.join()
    assert flow.missing() == []
    assert flow.twice() == []


def test_the_new_rate_holds_and_is_recorded(place: Place) -> None:
    record = place.deploy()
    source, middle, _ = hosts(record)
    record = set_network(record, "ring-a", 20)
    assert read_record(place.lab, place.run_root) == record
    assert send(source, middle, "10.1.0.2", 1, 60).mbps == pytest.approx(19.8, abs=1)
    record = set_network(record, "ring-a", None)
    assert record.networks["ring-a"].rate_mbps is None
    assert send(source, middle, "10.1.0.2", 0.5, 200).mbps > 150


@pytest.mark.parametrize("medium", ["shared", "switched"])
def test_a_network_without_a_rate_can_be_given_one(place: Place, medium: str) -> None:
    value = resolve("two-fddi").model_dump(mode="json")
    value["networks"]["ring-a"] |= {"rate_mbps": None, "medium": medium}
    record = place.deploy(load_topology(value))
    source, middle, _ = hosts(record)
    assert send(source, middle, "10.1.0.2", 0.5, 200).mbps > 150
    record = set_network(record, "ring-a", 20)
    flow = send(source, middle, "10.1.0.2", 1, 60)
    assert flow.mbps == pytest.approx(19.8, abs=1)
    assert flow.missing() == []


def test_ten_gigabits_pass_what_this_machine_can(place: Place) -> None:
    value = resolve("two-fddi").model_dump(mode="json")
    value["networks"]["ring-a"]["rate_mbps"] = 10_000
    record = place.deploy(load_topology(value))
    source, middle, _ = hosts(record)
    flow = send(source, middle, "10.1.0.2", 0.5, 400)
    assert flow.missing() == []
    assert flow.mbps > 250


def test_a_link_has_its_own_rate_both_ways(place: Place) -> None:
    topology = load_topology(
        {
            "name": "t",
            "hosts": {"a": {}, "b": {}},
            "networks": {"s": {"medium": "switched", "mtu": 4352, "stations": ["b"]}},
            "links": [{"ends": ["a", "s"], "rate_mbps": 20}],
        }
    )
    record = place.deploy(topology)
    a, b = (record.hosts[name] for name in "ab")
    for one, other in ((a, b), (b, a)):
        flow = send(one.namespace, other.namespace, str(other.interfaces[0].address), 1, 60)
        assert flow.mbps == pytest.approx(19.8, abs=1)
        assert flow.missing() == []


def test_a_trunk_carries_frames_at_its_rate(place: Place) -> None:
    networks = {
        name: {"medium": "switched", "mtu": 4352, "stations": [host]}
        for name, host in (("s1", "a"), ("s2", "b"))
    }
    links = [{"ends": ["s1", "s2"], "rate_mbps": 30}]
    topology = load_topology({"name": "t", "hosts": {"a": {}, "b": {}}, "networks": networks, "links": links})
    record = place.deploy(topology)
    a, b = (record.hosts[name] for name in "ab")
    flow = send(a.namespace, b.namespace, str(b.interfaces[0].address), 1, 60)
    assert flow.mbps == pytest.approx(29.7, abs=1.5)
    assert flow.missing() == []


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), 10_001])
def test_a_rate_that_cannot_be_changes_nothing(place: Place, fddi: Record, rate: float) -> None:
    with pytest.raises(LabError, match="rate_mbps must be"):
        set_network(fddi, "ring-a", rate)
    assert read_record(place.lab, place.run_root) == fddi


def test_what_is_not_there_is_said(place: Place, fddi: Record) -> None:
    with pytest.raises(NoSuchLab, match="no network 'ring-z'"):
        set_network(fddi, "ring-z", 10)
    place.destroy()
    with pytest.raises(NoSuchLab):
        set_network(fddi, "ring-a", 10)
    with pytest.raises(NoSuchLab):
        counters(fddi)
