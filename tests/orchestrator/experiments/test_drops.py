"""Each drop is counted once, under one name, in the segment where it happened."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.experiments.books import Passage
from orchestrator.experiments.definitions import EXPERIMENTS
from orchestrator.experiments.drops import Part, Seen, crossings, passages, sink_refused
from orchestrator.experiments.way import Crossing, Way
from tests.orchestrator.experiments.live_machine import LiveMachine, with_lab

PATH = EXPERIMENTS["fddi"].path


def way_of(record: dict[str, Any]) -> Way:
    hosts = (PATH.source, PATH.forwarder, PATH.sink)
    return Way.of(record, hosts, (Crossing.of(PATH.ring_in), Crossing.of(PATH.ring_out)))


@pytest.fixture
async def record() -> dict[str, Any]:
    return await (await with_lab(LiveMachine())).lab("fddi")


def ways(
    record: dict[str, Any],
    network: dict[str, int] | None = None,
    middle: dict[str, int] | None = None,
    manager: dict[str, Any] | None = None,
    forwarder: dict[str, int] | None = None,
    sinks: dict[str, Any] | None = None,
) -> list[Passage]:
    seen = Seen(
        network=network or {},
        hosts={"source": {}, "middle": middle or {}, "sink": {}},
        parts=[
            Part({"sent": 100}, {}),
            Part({"received": 95, "sent": 93, **(forwarder or {})}, manager or {}),
            Part({"received": 90}, sinks or {}),
        ],
    )
    return passages(seen, way_of(record))


def named(passage: Passage) -> dict[str, int]:
    return {place: count for place, count in passage.drops.items() if count}


def test_a_frame_that_both_ends_of_a_veth_saw_dropped_was_dropped_once(record: dict[str, Any]) -> None:
    inwards, _, outwards = ways(record, {"source.eth0.tx_dropped": 3, "ring-a.p1-1.rx_dropped": 3})
    assert named(inwards) == {"ring-a.p1-1 rx_dropped": 3}
    assert named(outwards) == {}


def test_what_only_the_sending_end_counted_is_named_after_it(record: dict[str, Any]) -> None:
    _, _, outwards = ways(record, {"middle.eth1.tx_dropped": 5, "ring-b.p2-1.rx_dropped": 2})
    assert named(outwards) == {"ring-b.p2-1 rx_dropped": 2, "middle.eth1 tx_dropped": 3}


def test_shapers_and_cpu_backlogs_are_on_their_ring(record: dict[str, Any]) -> None:
    inwards, _, outwards = ways(
        record, {"ring-a.i1.qdisc_drops": 4, "sink.eth0.rx_dropped": 6, "cpu0.backlog_dropped": 6}
    )
    assert named(inwards) == {"ring-a.i1 qdisc": 4}
    assert named(outwards) == {"sink.eth0 rx_dropped": 6}


def test_losses_and_cuts_are_named_after_their_ring_and_counted_where_they_met_the_datagram(
    record: dict[str, Any],
) -> None:
    inwards, _, outwards = ways(
        record,
        {
            "ring-a.p1-1.impairment_drops": 3,
            "ring-a.p1-1.cut_in_drops": 5,
            "ring-a.p1-2.cut_out_drops": 7,
            "ring-b.p2-1.impairment_drops": 11,
            # Against the traffic, or not a datagram.
            "ring-a.p1-2.impairment_drops": 100,
            "ring-a.p1-2.cut_in_drops": 100,
            "ring-a.p1-1.cut_other_drops": 100,
            "ring-a.p1-1.qdisc_ingress_drops": 108,
        },
    )
    assert named(inwards) == {"ring-a impairment": 3, "ring-a cut": 12}
    assert named(outwards) == {"ring-b impairment": 11}


def test_drops_against_the_traffic_are_not_ours(record: dict[str, Any]) -> None:
    assert not any(
        named(way) for way in ways(record, {"middle.eth0.tx_dropped": 1, "source.eth0.rx_dropped": 1})
    )


def test_a_full_socket_buffer_is_counted_once(record: dict[str, Any]) -> None:
    inwards, *_ = ways(record, middle={"udp.RcvbufErrors": 7, "udp.InErrors": 9})
    assert named(inwards) == {"middle socket buffer": 7, "middle udp.InErrors": 2}


def test_the_managers_drops_are_before_the_read_or_after_the_write(record: dict[str, Any]) -> None:
    manager = {
        "backend": "xdp",
        "drop_xsk_ring_full_eth0": 1,
        "drop_endpoint_queue": 2,
        "drop_no_page_to_send": 4,
        "drop_xsk_bad_send_eth1": 8,
        "drop_not_for_us": 16,
    }
    inwards, through, outwards = ways(record, manager=manager, forwarder={"drop_forwarder_stopped": 2})
    assert named(inwards) == {"manager xsk_ring_full_eth0": 1, "manager endpoint_queue": 2}
    assert named(through) == {"forwarder forwarder_stopped": 2}
    assert named(outwards) == {"manager no_page_to_send": 4, "manager xsk_bad_send_eth1": 8}


def test_with_packet_sockets_the_kernels_copies_are_no_loss(record: dict[str, Any]) -> None:
    counted = {"udp.RcvbufErrors": 100, "udp.InErrors": 100, "udp.NoPorts": 3}
    ended = {"backend": "packet", "drop_packet_full_eth0": 2}
    still_running = {"drop_packet_full_eth0": 2}
    for manager in (ended, still_running):
        inwards, *_ = ways(record, middle=counted, manager=manager)
        assert named(inwards) == {"manager packet_full_eth0": 2}


def test_a_sink_on_our_stack_has_its_managers_drops_and_its_room(record: dict[str, Any]) -> None:
    manager = {"backend": "packet", "drop_endpoint_queue": 5}
    *_, outwards = ways(record, sinks=manager)
    assert named(outwards) == {"sink's manager endpoint_queue": 5}
    assert sink_refused({"udp.RcvbufErrors": 100}, manager) == 5
    assert sink_refused({"udp.RcvbufErrors": 100}, {}) == 100


def test_over_trunks_a_cut_is_where_the_frame_came_in() -> None:
    def network(ports: dict[str, str | None]) -> dict[str, Any]:
        details = [{"name": name, "trunk": trunk} for name, trunk in ports.items()]
        return {"ports": list(ports), "port_details": details}

    def host(network: str, peer: str) -> dict[str, Any]:
        return {"interfaces": [{"name": "eth0", "network": network, "peer": peer, "address": "10.0.0.1"}]}

    record = {
        "hosts": {"a": host("left", "p1"), "b": host("right", "p2")},
        "networks": {
            "left": network({"p1": None, "p3": "p4"}),
            "mid": network({"p4": "p3", "p5": "p6", "p7": "p8"}),
            "right": network({"p2": None, "p6": "p5"}),
        },
    }
    way = Way.of(record, ("a", "b"), [Crossing("left", "right", ("left", "mid", "right"))])
    assert way.wires[0].trunks == (("left.p3", "mid.p4"), ("mid.p5", "right.p6"))
    counted = {"mid.p4.cut_in_drops": 1, "right.p6.impairment_drops": 3, "right.p2.cut_out_drops": 4}
    seen = Seen(
        network={
            **counted,
            "mid.p5.cut_out_drops": 1,
            "mid.p7.cut_in_drops": 9,
            "left.p1.cut_other_drops": 9,
        },
        hosts={"a": {}, "b": {}},
        parts=[Part({"sent": 100}, {}), Part({"received": 91}, {})],
    )
    (passage,) = passages(seen, way)
    assert named(passage) == {"mid cut": 2, "right impairment": 3, "right cut": 4}


def test_interfaces_tell_datagrams_from_arp(record: dict[str, Any]) -> None:
    wire, _ = way_of(record).wires
    counted = {
        "source.eth0.tx_packets": 12,
        "source.eth0.tx_bytes": 10 * 4342 + 2 * 42,
        "middle.eth0.rx_packets": 9,
        "middle.eth0.rx_bytes": 9 * 4342 + 1,
    }
    seen = crossings(counted, wire, 4300)
    assert seen["source.eth0 tx"] == 10
    assert "middle.eth0 rx" not in seen
