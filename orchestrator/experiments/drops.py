"""Where a datagram can be dropped between source and sink, read from the counters of a trial.

Several counters see one and the same drop. A frame refused by a veth pair counts as `tx_dropped` of the
end that sent it and as `rx_dropped` of the end that should have had it; one refused by a CPU's receive
backlog counts in `softnet_stat` as well; and the sender's UDP and IP counters may count it once more.
Here each drop is taken from one counter only: `rx_dropped`, and of `tx_dropped` just what goes beyond the
other end's `rx_dropped`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.experiments.books import Passage
from orchestrator.experiments.definitions import DataPath

Counts = Mapping[str, int]
HEADERS = 14 + 20 + 8
"""Bytes of a frame beyond its datagram's payload: Ethernet, IPv4, UDP."""
ARP_FRAME = 42
"""Bytes of an ARP frame on a veth, where nothing is padded."""

AFTER_WRITE = ("send", "descriptor", "big")
"""A manager's drop whose name has one of these words hit a datagram that the forwarder had written."""
STRANGERS = ("not_ip", "not_udp", "not_for_us")
"""What a manager refused under these names was never a datagram of ours."""


@dataclass(frozen=True)
class Wire:
    """One network as a datagram crosses it: the sending and receiving host's interface, and the network's
    devices."""

    network: str
    sender: str
    sender_port: str
    receiver: str
    receiver_port: str


@dataclass(frozen=True)
class Seen:
    """The increase of every counter over a trial, and the final states of its workloads.

    `network` are the lab's counters, `hosts` those of each host; `forwarder` and `manager` hold results or
    drops; a host without a manager has an empty one.
    """

    network: Counts
    hosts: Mapping[str, Counts]
    sent: int
    received: int
    sink: Mapping[str, Any]
    forwarder: Mapping[str, Any]
    manager: Mapping[str, Any]


def interface(record: Mapping[str, Any], host: str, network: str) -> Mapping[str, Any]:
    """A host's interface on a network, from the lab's record. Raises LookupError."""
    for found in record["hosts"][host]["interfaces"]:
        if found["network"] == network:
            return dict(found)
    raise LookupError(f"host {host} has no interface on network {network}")


def wires(record: Mapping[str, Any], path: DataPath) -> tuple[Wire, Wire]:
    """Both networks of the path in the deployed lab."""

    def wire(network: str, sender: str, receiver: str) -> Wire:
        if network not in record["networks"]:
            raise LookupError(f"there is no network {network}")
        out, into = interface(record, sender, network), interface(record, receiver, network)
        return Wire(
            network=network,
            sender=f"{sender}.{out['name']}",
            sender_port=f"{network}.{out['peer']}",
            receiver=f"{receiver}.{into['name']}",
            receiver_port=f"{network}.{into['peer']}",
        )

    return (
        wire(path.ring_in, path.source, path.forwarder),
        wire(path.ring_out, path.forwarder, path.sink),
    )


def passages(seen: Seen, path: DataPath, ring_in: Wire, ring_out: Wire) -> list[Passage]:
    """The three segments of the way with the drops named in each."""
    read, written = int(seen.forwarder["received"]), int(seen.forwarder["sent"])
    own = _named(seen.forwarder, "forwarder")
    manager = _named(seen.manager, "manager")
    after = {place: count for place, count in manager.items() if _has(place, AFTER_WRITE)}
    # On our stack no datagram waits in a socket of the kernel's. With AF_PACKET its UDP gets a copy of every
    # frame and refuses it, at the socket by which the manager holds the port: that is no loss. A manager
    # counts its drops from its start on, if only as 0, so one that still runs is seen too.
    ours = bool(seen.manager)
    return [
        Passage(
            f"{path.source} -> {ring_in.network} -> {path.forwarder}",
            seen.sent,
            read,
            _wire_drops(seen.network, ring_in)
            | ({} if ours else _kernel_drops(seen.hosts[path.forwarder], path.forwarder))
            | {place: count for place, count in manager.items() if place not in after},
        ),
        Passage(f"{path.forwarder}'s forwarder", read, written, own),
        Passage(
            f"{path.forwarder} -> {ring_out.network} -> {path.sink}",
            written,
            seen.received,
            after
            | _wire_drops(seen.network, ring_out)
            | _kernel_drops(seen.hosts[path.sink], path.sink)
            | _named(seen.sink, "sink"),
        ),
    ]


def sink_socket_drops(host: Counts) -> int:
    """Datagrams that the sink's own socket buffer refused."""
    return host.get("udp.RcvbufErrors", 0)


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
    # Each is counted at a port, where the frame came from its sender or was to leave for its receiver.
    lost, cut_in = (f"{wire.sender_port}.{field}" for field in ("impairment_drops", "cut_in_drops"))
    found[f"{wire.network} impairment"] = network.get(lost, 0)
    found[f"{wire.network} cut"] = network.get(cut_in, 0) + network.get(
        f"{wire.receiver_port}.cut_out_drops", 0
    )
    for name, count in network.items():
        device, _, field = name.rpartition(".")
        if device.startswith(wire.network + ".") and field == "qdisc_drops":
            found[f"{device} qdisc"] = count
        elif device.startswith(wire.network + ".") and field == "rx_dropped" and device != wire.receiver_port:
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


def _named(result: Mapping[str, Any], owner: str) -> dict[str, int]:
    named = {key.removeprefix("drop_"): count for key, count in result.items() if key.startswith("drop_")}
    return {f"{owner} {place}": int(count) for place, count in named.items() if place not in STRANGERS}


def _has(place: str, words: tuple[str, ...]) -> bool:
    return any(word in place.partition(" ")[2].split("_") for word in words)
