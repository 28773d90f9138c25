"""A user relies on: a planted fault takes or doubles exactly the datagrams it names; no counter shows it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.topologies.conftest import Place
from tests.topologies.traffic import Flow, send
from topologies import load_topology, resolve
from topologies.builder import FaultError, NoSuchLab, Record
from topologies.builder.control import counters
from topologies.builder.faults import clear, plant

pytestmark = pytest.mark.root


def run(record: Record, **fault: Any) -> Flow:
    """Half a second over ring B with a fault planted at the middle host."""
    planted = plant(record, "ring-b", "middle", **fault)
    try:
        return send(
            record.hosts["middle"].namespace, record.hosts["sink"].namespace, "10.2.0.2", 0.5, 60, flow=7
        )
    finally:
        clear(planted)


@pytest.mark.parametrize("medium", ["shared", "switched"])
def test_exactly_the_named_datagrams_vanish_or_appear_twice(place: Place, medium: str) -> None:
    value = resolve("two-fddi").model_dump(mode="json")
    value["networks"]["ring-b"]["medium"] = medium
    record = place.deploy(load_topology(value))
    flow = run(record, drop=[0, 3, (10, 16)], duplicate=[20, (30, 31)])
    assert flow.missing() == [0, 3, *range(10, 17)]
    assert flow.twice() == [20, 30, 31]
    assert len(flow.sequences) == flow.sent - 9 + 3


def test_no_counter_names_the_drop(fddi: Record) -> None:
    before = counters(fddi)
    flow = run(fddi, drop=[(5, 104)])
    after = counters(fddi)
    assert flow.missing() == list(range(5, 105))
    assert not [name for name in after if ("drop" in name or "error" in name) and after[name] != before[name]]


def test_everything_from_a_number_on_can_vanish(fddi: Record) -> None:
    flow = run(fddi, drop=[(100, 2**64 - 1)])
    assert sorted(flow.sequences) == list(range(100))


def test_another_flow_is_not_touched(fddi: Record) -> None:
    assert run(fddi, drop=[5], flow=8).missing() == []
    assert run(fddi, drop=[5], flow=7).missing() == [5]
    assert run(fddi, drop=[5], magic=0x12345678).missing() == []
    assert run(fddi, drop=[5], magic=None).missing() == [5]


def test_a_sequence_number_elsewhere_in_the_payload(fddi: Record) -> None:
    # At offset 16 every test datagram has zeros.
    flow = run(fddi, drop=[0], offset=16)
    assert flow.sequences == []


def test_a_thousand_separate_datagrams(fddi: Record) -> None:
    flow = run(fddi, drop=range(0, 2000, 2))
    assert flow.missing() == list(range(0, flow.sent, 2))


def test_a_cleared_fault_is_gone_and_can_be_planted_again(fddi: Record) -> None:
    fault = plant(fddi, "ring-b", "middle", drop=[1])
    with pytest.raises(FaultError, match="a planted fault on 'ring-b' already"):
        plant(fddi, "ring-b", "middle", drop=[2])
    clear(fault)
    clear(fault)
    assert run(fddi, drop=[2]).missing() == [2]


def test_clearing_after_the_lab_is_gone_is_no_error(place: Place, fddi: Record) -> None:
    fault = plant(fddi, "ring-b", "middle", drop=[1])
    place.destroy()
    clear(fault)
    with pytest.raises(FaultError):
        plant(fddi, "ring-b", "middle", drop=[1])


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"drop": [-1]}, "not a range"),
        ({"drop": [(5, 4)]}, "not a range"),
        ({"drop": [2**64]}, "not a range"),
        ({"drop": [(1, 5)], "duplicate": [5]}, "dropped and duplicated"),
        ({"drop": range(0, 4000, 2)}, "at most 1000"),
        ({"drop": [1], "offset": -1}, "offset must be"),
    ],
)
def test_a_fault_that_cannot_be_is_refused(fddi: Record, fault: dict[str, Any], message: str) -> None:
    with pytest.raises(FaultError, match=message):
        plant(fddi, "ring-b", "middle", **fault)


def test_a_station_that_is_not_there(fddi: Record) -> None:
    with pytest.raises(NoSuchLab, match="is not a station"):
        plant(fddi, "ring-b", "source", drop=[1])
    with pytest.raises(NoSuchLab, match="no network"):
        plant(fddi, "ring-z", "source", drop=[1])
