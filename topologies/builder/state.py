"""Reading what the kernel counts: interfaces, queues and backlogs of a lab's namespaces."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from topologies.builder.netlink import Channel

_GETLINK, _GETQDISC = 18, 38
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


def _dump_request(kind: int, body: int) -> bytes:
    return struct.pack("=IHHII", _NLMSG_HEADER + body, kind, _REQUEST_DUMP, 0, 0) + bytes(body)


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


def _attributes(data: bytes, offset: int) -> Iterator[tuple[int, bytes]]:
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        if length < 4:
            return
        yield kind & 0x3FFF, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
