"""A user relies on: a network loses the fraction asked for, the same for the same seed, and counts it."""

from __future__ import annotations

import struct
import threading
from typing import Any

import pytest

from tests.topologies.conftest import Place
from tests.topologies.traffic import send, send_numbered
from topologies import Topology, TopologyError, load_topology, resolve
from topologies.builder import Record, Unsupported, messages, read_record
from topologies.builder.control import counters, set_network
from topologies.model import Impairments

COUNT = 3000
GOLDEN = 0x9E3779B97F4A7C15
MASK = (1 << 64) - 1


def with_ring(**changed: Any) -> Topology:
    """two-fddi with another ring A."""
    value = resolve("two-fddi").model_dump(mode="json")
    value["networks"]["ring-a"] |= changed
    return load_topology(value)


def splitmix(state: int) -> int:
    """The output of splitmix64 at a state, from its publication; 1234567's first is in the test below."""
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB & MASK
    return state ^ (state >> 31)


def lost(seed: int, loss: float, count: int, slot: int = 0) -> list[int]:
    """What a sender loses, its port being the `slot`-th of the network."""
    begin = splitmix(splitmix((seed + GOLDEN) & MASK) + slot * GOLDEN & MASK)
    mixed = [splitmix((begin + number * GOLDEN) & MASK) for number in range(count)]
    # The upper half; of its bits the last step of splitmix64, which the filter leaves out, changes one.
    return [n for n, value in enumerate(mixed) if value >> 32 ^ value >> 63 < round(loss * 2**32)]


def drops(record: Record, host: str = "source", network: str = "ring-a") -> int:
    port = next(i.peer for i in record.hosts[host].interfaces if i.network == network)
    return counters(record).get(f"{network}.{port}.impairment_drops", 0)


def missing(record: Record, count: int = COUNT) -> list[int]:
    """What of `count` datagrams over ring A vanishes; as many as are counted."""
    source, middle = record.hosts["source"].namespace, record.hosts["middle"].namespace
    before = drops(record)
    arrived = send_numbered(source, middle, "10.1.0.2", count, lambda: drops(record))
    assert len(arrived) == len(set(arrived))
    assert drops(record) - before == count - len(arrived)
    return sorted(set(range(count)) - set(arrived))


def test_the_generator_of_this_test_is_the_published_one() -> None:
    assert splitmix(1234567 + GOLDEN & MASK) == 6457827717110365317


@pytest.mark.root
@pytest.mark.parametrize("medium", ["shared", "switched"])
def test_a_tenth_is_lost_the_same_for_the_same_seed_and_every_frame_counted(
    place: Place, medium: str
) -> None:
    record = place.deploy(with_ring(medium=medium))
    assert missing(record, 50) == []
    first = missing(set_network(record, "ring-a", 100, Impairments(loss=0.1, seed=7)))
    # Five standard deviations of a binomial distribution.
    assert len(first) == pytest.approx(0.1 * COUNT, abs=5 * (COUNT * 0.1 * 0.9) ** 0.5)
    assert first == lost(7, 0.1, COUNT)
    record = set_network(record, "ring-a", 100, Impairments(loss=0.1, seed=8))
    assert missing(record) == lost(8, 0.1, COUNT) != first
    record = set_network(record, "ring-a", 100, Impairments(loss=0.1, seed=7))
    assert missing(record) == first
    assert drops(record, "middle") == 0
    assert read_record(place.lab, place.run_root) == record
    record = set_network(record, "ring-a", 100, Impairments())
    assert missing(record, 50) == []
    assert missing(set_network(record, "ring-a", 100, Impairments(loss=1.0)), 50) == list(range(50))


@pytest.mark.root
def test_a_changed_rate_loses_no_frame_more_and_leaves_the_pattern(place: Place) -> None:
    record = place.deploy()
    assert missing(record, 50) == []  # from here on the hosts know each other: none overtakes one that waits
    record = set_network(record, "ring-a", 100, Impairments(loss=0.05, seed=3))
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            for rate in (50.0, None, 200.0, 100.0):
                set_network(record, "ring-a", rate)

    changer = threading.Thread(target=change)
    changer.start()
    try:
        assert missing(record) == lost(3, 0.05, COUNT)
    finally:
        stop.set()
        changer.join()


@pytest.mark.root
def test_two_senders_have_patterns_of_their_own(place: Place) -> None:
    record = place.deploy()
    assert missing(record, 50) == []
    record = set_network(record, "ring-a", 100, Impairments(loss=0.2, seed=1))
    there, back = record.hosts["source"].namespace, record.hosts["middle"].namespace
    one = send_numbered(there, back, "10.1.0.2", 500, lambda: drops(record))
    other = send_numbered(back, there, "10.1.0.1", 500, lambda: drops(record, "middle"))
    assert sorted(set(range(500)) - set(one)) == lost(1, 0.2, 500)
    assert sorted(set(range(500)) - set(other)) == lost(1, 0.2, 500, slot=1)


@pytest.mark.root
def test_a_loss_of_the_topology_is_there_from_the_first_frame_on(place: Place) -> None:
    assert missing(place.deploy(with_ring(loss=1.0)), 50) == list(range(50))


@pytest.mark.root
def test_delay_is_had_or_refused_with_the_reason_and_nothing_changes(place: Place) -> None:
    record = place.deploy()
    source, middle = record.hosts["source"].namespace, record.hosts["middle"].namespace
    try:
        set_network(record, "ring-a", 50, Impairments(loss=0.5, delay_ms=20))
    except Unsupported as error:
        assert error.field == "delay_ms" and "netem" in str(error)
        assert read_record(place.lab, place.run_root) == record
        assert missing(record, 50) == []
        assert send(source, middle, "10.1.0.2", 0.5, 150).mbps == pytest.approx(99, abs=3)
    else:
        set_network(record, "ring-a", 100, Impairments(delay_ms=20))
        assert missing(record, 50) == []


@pytest.mark.root
def test_a_delay_needs_a_rate(place: Place) -> None:
    with pytest.raises(
        Unsupported, match="delay_ms must be 0, not 5: a network without rate_mbps has no queue"
    ):
        place.deploy(with_ring(rate_mbps=None, delay_ms=5.0))
    assert place.remains() == []


def test_a_delay_is_asked_for_in_nanoseconds() -> None:
    message = messages.delay(7, "p1", 20_000_000, 1_000_000, 5, 1000)
    length, kind = struct.unpack_from("=IH", message.data)
    assert (length, kind) == (len(message.data), 36)
    assert b"netem\0" in message.data
    options = message.data[message.data.index(b"netem\0") + 8 + 4 :]
    assert struct.unpack_from("=6I", options) == (0, 1000, 0, 0, 0, 0)
    found = {kind & 0x3FFF: value for _, kind, value in struct.iter_unpack("=HHq", options[24:])}
    assert found == {10: 20_000_000, 11: 1_000_000, 14: 5}


@pytest.mark.parametrize(
    ("impairments", "place_of_fault"),
    [
        ({"loss": 1.1}, "networks.ring-a.loss"),
        ({"loss": -0.1}, "networks.ring-a.loss"),
        ({"loss": float("nan")}, "networks.ring-a.loss"),
        ({"seed": -1}, "networks.ring-a.seed"),
        ({"delay_ms": 20_000}, "networks.ring-a.delay_ms"),
        ({"delay_ms": 1, "jitter_ms": 2}, "networks.ring-a.jitter_ms"),
    ],
)
def test_impairments_that_cannot_be_are_refused_by_place(
    impairments: dict[str, Any], place_of_fault: str
) -> None:
    with pytest.raises(TopologyError) as caught:
        with_ring(**impairments)
    assert caught.value.problems[0]["place"] == place_of_fault
