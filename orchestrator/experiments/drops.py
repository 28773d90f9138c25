"""Where a datagram can be dropped between source and sink, read from the counters of a trial.

Several counters see one and the same drop. A frame refused by a veth pair counts as `tx_dropped` of the
end that sent it and as `rx_dropped` of the end that should have had it; one refused by a CPU's receive
backlog counts in `softnet_stat` as well; and the sender's UDP and IP counters may count it once more.
Here each drop is taken from one counter only: `rx_dropped`, and of `tx_dropped` just what goes beyond the
other end's `rx_dropped`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.experiments.books import Passage
from orchestrator.experiments.way import Way, Wire, managers_label

Counts = Mapping[str, int]
HEADERS = 14 + 20 + 8
"""Bytes of a frame beyond its datagram's payload: Ethernet, IPv4, UDP."""
ARP_FRAME = 42
"""Bytes of an ARP frame on a veth, where nothing is padded."""

AFTER_WRITE = ("send", "descriptor", "big")
"""A manager's drop whose name has one of these words hit a datagram that its process had written."""
STRANGERS = ("not_ip", "not_udp", "not_for_us")
"""What a manager refused under these names was never a datagram of ours."""
NO_ROOM = "drop_endpoint_queue"
"""What a manager calls a datagram whose receiver had no room for more."""


@dataclass(frozen=True)
class Part:
    """What one workload of the way counted, its drops among it, and its manager; {} where it has none."""

    counted: Mapping[str, Any]
    manager: Mapping[str, Any]


@dataclass(frozen=True)
class Seen:
    """The increase of every counter over a trial, and what its workloads counted, in the order of the way.

    `network` are the lab's counters, `hosts` those of each host.
    """

    network: Counts
    hosts: Mapping[str, Counts]
    parts: Sequence[Part]


def passages(seen: Seen, way: Way) -> list[Passage]:
    """The segments of the way with the drops named in each: every leg, and every forwarder between two."""
    found: list[Passage] = []
    for at, leg in enumerate(way.legs):
        sender, receiver = seen.parts[at], seen.parts[at + 1]
        host, label = way.hosts[at + 1], way.labels[at + 1]
        last = at + 1 == len(way.legs)
        # On our stack no datagram waits in a socket of the kernel's. With AF_PACKET its UDP gets a copy of
        # every frame and refuses it, at the socket by which the manager holds the port: that is no loss. A
        # manager counts its drops from its start on, if only as 0, so one that still runs is seen too.
        kernel = {} if receiver.manager else _kernel_drops(seen.hosts[host], host)
        own = _named(receiver.counted, label)
        read = int(receiver.counted["received"])
        found.append(
            Passage(
                f"{way.hosts[at]} -> {leg.wire.name} -> {host}",
                int(sender.counted["sent"]),
                read,
                _managed(sender.manager, way.labels[at], after_write=True)
                | _wire_drops(seen.network, leg.wire)
                | kernel
                | _managed(receiver.manager, label, after_write=False)
                | (own if last else {}),
            )
        )
        if not last:
            found.append(Passage(f"{host}'s forwarder", read, int(receiver.counted["sent"]), own))
    return found


def sink_refused(host: Counts, manager: Mapping[str, Any]) -> int:
    """Datagrams for which the sink had no room: in its socket buffer, or in its queue on our stack."""
    return int(manager.get(NO_ROOM, 0)) if manager else host.get("udp.RcvbufErrors", 0)


def crossings(network: Counts, wire: Wire, datagram_bytes: int) -> dict[str, int]:
    """Datagrams that passed each interface of a wire, where frame and byte counts give them exactly.

    Only datagrams and ARP cross a wire: with p frames and b bytes, (b - 42 p) / payload is the number of
    datagrams. Where that is no whole number something else crossed too, and nothing is said.
    """
    found: dict[str, int] = {}
    sending = ((wire.sender, "tx"), (wire.sender_port, "rx"))
    for device, way in (*sending, (wire.receiver_port, "tx"), (wire.receiver, "rx")):
        frames = network.get(f"{device}.{way}_packets", 0)
        octets = network.get(f"{device}.{way}_bytes", 0)
        count, rest = divmod(octets - ARP_FRAME * frames, datagram_bytes + HEADERS - ARP_FRAME)
        if rest == 0 and 0 <= count <= frames:
            found[f"{device} {way}"] = count
    return found


def _wire_drops(network: Counts, wire: Wire) -> dict[str, int]:
    found: dict[str, int] = {}
    for sent_by, had_by in ((wire.sender, wire.sender_port), (wire.receiver_port, wire.receiver)):
        refused = network.get(f"{had_by}.rx_dropped", 0)
        found[f"{had_by} rx_dropped"] = refused
        found[f"{sent_by} tx_dropped"] = max(0, network.get(f"{sent_by}.tx_dropped", 0) - refused)
    # Each is counted at a port, where the frame came into a network or was to leave it.
    entered = (wire.sender_port, *(into for _, into in wire.trunks))
    left = (*(out for out, _ in wire.trunks), wire.receiver_port)
    for name, into, out in zip(wire.networks, entered, left, strict=True):
        found[f"{name} impairment"] = network.get(f"{into}.impairment_drops", 0)
        found[f"{name} cut"] = network.get(f"{into}.cut_in_drops", 0) + network.get(f"{out}.cut_out_drops", 0)
    inside = tuple(f"{one}." for one in wire.networks)
    for name, count in network.items():
        device, _, field = name.rpartition(".")
        if not device.startswith(inside):
            continue
        if field == "qdisc_drops":
            found[f"{device} qdisc"] = count
        elif field == "rx_dropped" and device != wire.receiver_port:
            found[f"{device} rx_dropped"] = count
    return found


def _kernel_drops(host: Counts, name: str) -> dict[str, int]:
    full = host.get("udp.RcvbufErrors", 0)
    return {
        f"{name} socket buffer": full,
        # InErrors has RcvbufErrors in it; what is left are checksums and memory.
        f"{name} udp.InErrors": max(0, host.get("udp.InErrors", 0) - full),
        f"{name} ip.InDiscards": host.get("ip.InDiscards", 0),
        f"{name} no socket": host.get("udp.NoPorts", 0),
    }


def _managed(manager: Mapping[str, Any], label: str, after_write: bool) -> dict[str, int]:
    """What a manager dropped after its process had written it, or before its process could read it."""
    named = _named(manager, managers_label(label))
    return {
        place: count
        for place, count in named.items()
        if any(word in place.rpartition(" ")[2].split("_") for word in AFTER_WRITE) == after_write
    }


def _named(result: Mapping[str, Any], owner: str) -> dict[str, int]:
    named = {key.removeprefix("drop_"): count for key, count in result.items() if key.startswith("drop_")}
    return {f"{owner} {place}": int(count) for place, count in named.items() if place not in STRANGERS}
