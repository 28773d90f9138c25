"""Reading what the kernel counts: interfaces, queues and backlogs of a lab's namespaces."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from topologies.builder.netlink import Channel

_GETLINK, _GETQDISC, _GETSTATS = 18, 38, 94
_STATS_LINK_64 = 1
_REQUEST_DUMP = 0x301
_NLMSG_HEADER = 16
_IFLA_IFNAME, _IFLA_STATS64 = 3, 23
_TCA_STATS2 = 7
_TCA_STATS_BASIC, _TCA_STATS_QUEUE, _TCA_STATS_PKT64 = 1, 3, 8
TC_H_ROOT = 0xFFFFFFFF
INTERFACE_FIELDS = (
    "rx_packets", "tx_packets", "rx_bytes", "tx_bytes", "rx_errors", "tx_errors", "rx_dropped", "tx_dropped",
)  # fmt: skip


def namespace_counters() -> dict[str, dict[str, int]]:
    """Counters by interface, of the namespace that the calling thread is in.

    Each interface has rx and tx packets, bytes, dropped and errors, and, with a shaper, the root queue's
    qdisc_sent_packets, qdisc_sent_bytes, qdisc_drops, qdisc_backlog_packets and qdisc_overlimits. One with a
    place for filters has qdisc_ingress_drops.
    """
    with closing(Channel()) as channel:
        found: dict[str, dict[str, int]] = {}
        names: dict[int, str] = {}
        for message in channel.dump(_dump_request(_GETLINK, 16)):
            (index,) = struct.unpack_from("=i", message, _NLMSG_HEADER + 4)
            attributes = dict(_attributes(message, _NLMSG_HEADER + 16))
            names[index] = attributes[_IFLA_IFNAME].rstrip(b"\0").decode()
            values = struct.unpack_from("=8Q", attributes[_IFLA_STATS64])
            found[names[index]] = dict(zip(INTERFACE_FIELDS, values, strict=True))
        for message in channel.dump(_dump_request(_GETQDISC, 20)):
            index, handle, parent = struct.unpack_from("=iII", message, _NLMSG_HEADER + 4)
            if not handle or index not in names:
                continue  # the kernel's default queue, which never holds anything
            queue = _queue(dict(_attributes(message, _NLMSG_HEADER + 20)))
            if parent == TC_H_ROOT:
                found[names[index]].update(queue)
            else:
                found[names[index]]["qdisc_ingress_drops"] = queue["qdisc_drops"]
        return found


@dataclass
class Passed:
    """What has passed an interface, and what waits in its own queue, if it has one."""

    rx_bytes: int
    tx_bytes: int
    rx_dropped: int
    tx_dropped: int
    queue_drops: int = 0
    backlog_bytes: int = 0


def passed() -> dict[int, Passed]:
    """By interface number, of the namespace that the calling thread is in.

    The kernel is asked for these counters alone, which for thousands of interfaces takes a tenth of what
    `namespace_counters` does.
    """
    with closing(Channel()) as channel:
        found: dict[int, Passed] = {}
        for message in channel.dump(_dump_request(_GETSTATS, 12, struct.pack("=III", 0, 0, _STATS_LINK_64))):
            (index,) = struct.unpack_from("=i", message, _NLMSG_HEADER + 4)
            attributes = dict(_attributes(message, _NLMSG_HEADER + 12))
            _, _, rx, tx, _, _, rx_dropped, tx_dropped = struct.unpack_from("=8Q", attributes[_STATS_LINK_64])
            found[index] = Passed(rx, tx, rx_dropped, tx_dropped)
        for message in channel.dump(_dump_request(_GETQDISC, 20)):
            index, handle, parent = struct.unpack_from("=iII", message, _NLMSG_HEADER + 4)
            if handle and parent == TC_H_ROOT and index in found:
                _, backlog, drops = _levels(dict(_attributes(message, _NLMSG_HEADER + 20)))
                found[index].queue_drops, found[index].backlog_bytes = drops, backlog
        return found


def backlog_dropped() -> dict[str, int]:
    """Packets for which a CPU's input backlog had no room, since the machine started, as
    `cpu<N>.backlog_dropped`.
    """
    found: dict[str, int] = {}
    for number, line in enumerate(Path("/proc/net/softnet_stat").read_text().splitlines()):
        fields = line.split()
        # Recent kernels give the CPU's number; older ones list the CPUs in order.
        cpu = int(fields[12], 16) if len(fields) > 12 else number
        found[f"cpu{cpu}.backlog_dropped"] = int(fields[1], 16)
    return found


def _dump_request(kind: int, length: int, body: bytes = b"") -> bytes:
    head = struct.pack("=IHHII", _NLMSG_HEADER + length, kind, _REQUEST_DUMP, 0, 0)
    return head + body.ljust(length, b"\0")


def _queue(attributes: dict[int, bytes]) -> dict[str, int]:
    nested = dict(_attributes(attributes.get(_TCA_STATS2, b""), 0))
    sent_bytes, sent_packets = struct.unpack_from("=QI", nested[_TCA_STATS_BASIC])
    if _TCA_STATS_PKT64 in nested:  # sent when the 32-bit count has wrapped
        (sent_packets,) = struct.unpack_from("=Q", nested[_TCA_STATS_PKT64])
    qlen, _, drops, _, overlimits = struct.unpack_from("=5I", nested[_TCA_STATS_QUEUE])
    return {
        "qdisc_sent_packets": sent_packets,
        "qdisc_sent_bytes": sent_bytes,
        "qdisc_drops": drops,
        "qdisc_backlog_packets": qlen,
        "qdisc_overlimits": overlimits,
    }


def _levels(attributes: dict[int, bytes]) -> tuple[int, int, int]:
    """Packets and bytes that wait in a queue, and packets for which it had no room."""
    nested = dict(_attributes(attributes.get(_TCA_STATS2, b""), 0))
    qlen, backlog, drops = struct.unpack_from("=3I", nested[_TCA_STATS_QUEUE])
    return qlen, backlog, drops


def _attributes(data: bytes, offset: int) -> Iterator[tuple[int, bytes]]:
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        if length < 4:
            return
        yield kind & 0x3FFF, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
