"""From the results of source and sink to throughput and loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.experiments.books import Arrived


def arrived(sink: Mapping[str, Any]) -> Arrived:
    """What the sink found out from sequence numbers."""
    return Arrived(
        received=int(sink["received"]),
        unique=int(sink["unique"]),
        duplicates=int(sink["duplicates"]),
        reordered=int(sink["reordered"]),
        end=int(sink["highest"]),
        lost_ranges=sink["lost_ranges"],
        duplicate_list=sink["duplicate_list"],
    )


def loss(source: Mapping[str, Any], sink: Mapping[str, Any]) -> float:
    """The fraction of the datagrams sent in the measured interval that never arrived."""
    sent = int(source["sent_measured"])
    return 1 - int(sink["unique_measured"]) / sent if sent else 0.0


def throughput_mbps(source: Mapping[str, Any], sink: Mapping[str, Any], datagram_bytes: int) -> float:
    """Payload of the different datagrams that arrived during the source's measured interval, per second.

    By time of arrival, not by which datagrams they are: while queues fill or empty, these differ by a queue.
    The sink counts arrivals in bins of `bin_ns`; of the bins at both ends the part inside the interval
    counts.
    """
    t0, t1, width = int(source["t0_ns"]), int(source["t1_ns"]), int(sink["bin_ns"])
    arrived = 0.0
    for number, count in enumerate(sink["bin"]):
        start = int(sink["bin0_ns"]) + number * width
        inside = min(start + width, t1) - max(start, t0)
        arrived += count * max(0, inside) / width
    return arrived * datagram_bytes * 8 / (t1 - t0) * 1e3 if t1 > t0 else 0.0
