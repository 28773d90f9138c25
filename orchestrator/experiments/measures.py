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


def throughput_mbps(
    source: Mapping[str, Any], sink: Mapping[str, Any], datagram_bytes: int, slack_s: float
) -> float:
    """Payload that arrived, per second of the time in which it was delivered.

    The datagrams are those sent in the measured interval [t0, t1). They are delivered from the arrival of
    the first to that of the last. While queues fill, this takes longer than sending them did, and to
    divide by t1 - t0 would count the queue's capacity as throughput (1024 datagrams are 12 Mb/s of a 3 s
    interval). So the growth of the delay is added to the interval, as far as it exceeds `slack_s`: a host
    with a CPU budget delivers in bursts, once per period, which moves both arrivals by up to a period and
    is no growth.
    """
    measured = (int(source["t1_ns"]) - int(source["t0_ns"])) / 1e9
    if not int(sink["unique_measured"]):
        return 0.0
    delivered = (int(sink["last_measured_ns"]) - int(sink["first_measured_ns"])) / 1e9
    growth = max(0.0, delivered - measured - slack_s)
    return int(sink["unique_measured"]) * datagram_bytes * 8 / (measured + growth) / 1e6
