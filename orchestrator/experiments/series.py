"""What happened within a trial, interval by interval, from samples of the counters of its workloads.

Samples of all hosts are of the same moments (agents/sampler.py), so that intervals can be put side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

Samples = Mapping[str, Any]
"""{"interval_s", "t_ns": [...], "counters": {name: [...]}}, as a workload's final state has it."""


class Series(BaseModel):
    """`t_s[i]` is the end of interval i in seconds from the beginning of the measured part (what is before it
    is warm-up); `values` has a number for each interval, None where there is none. Units are in the names."""

    model_config = ConfigDict(extra="forbid")

    interval_s: float
    t_s: list[float]
    values: dict[str, list[float | None]]

    @model_validator(mode="after")
    def _one_value_each(self) -> Series:
        if any(len(column) != len(self.t_s) for column in self.values.values()):
            raise ValueError("as many values as intervals are needed")
        return self


def forwarded(source: Samples | None, sink: Samples | None, t0_ns: int, datagram_bytes: int) -> Series | None:
    """Offered load and throughput in Mb/s of payload, and the fraction lost of the datagrams whose turn it
    was to arrive. None without samples of both."""
    if not source or not sink:
        return None
    bits = datagram_bytes * 8 / 1e6
    sent, unique = _rates(source, "datagrams_out"), _rates(sink, "datagrams_unique")
    expected = _rates(sink, "datagrams_expected")
    losses = {tick: 1 - unique[tick] / rate for tick, rate in expected.items() if rate > 0}
    return _series(
        float(sink["interval_s"]),
        t0_ns,
        {
            "offered_mbps": {tick: rate * bits for tick, rate in sent.items()},
            "throughput_mbps": {tick: rate * bits for tick, rate in unique.items()},
            # Late ones may make up for what seemed lost.
            "loss": {tick: max(0.0, loss) for tick, loss in losses.items()},
        },
    )


def handed_over(reader: Samples | None, t0_ns: int) -> Series | None:
    """What the last process of a row got, in MB/s. None without samples."""
    if not reader:
        return None
    rates = {tick: rate / 1e6 for tick, rate in _rates(reader, "bytes_in").items()}
    return _series(float(reader["interval_s"]), t0_ns, {"mbytes_per_s": rates})


def _rates(samples: Samples, name: str) -> dict[int, float]:
    """The increase of a counter per second, by the number of the tick at which the interval ended."""
    moments: Sequence[int] = samples["t_ns"]
    counts: Sequence[int] = samples["counters"].get(name) or [0] * len(moments)
    width_ns = float(samples["interval_s"]) * 1e9
    return {
        round(moments[i] / width_ns): (counts[i] - counts[i - 1]) * 1e9 / (moments[i] - moments[i - 1])
        for i in range(1, len(moments))
        if moments[i] > moments[i - 1]
    }


def _series(interval_s: float, t0_ns: int, columns: Mapping[str, Mapping[int, float]]) -> Series | None:
    ticks = sorted({tick for column in columns.values() for tick in column})
    if not ticks:
        return None
    return Series(
        interval_s=interval_s,
        t_s=[round(tick * interval_s - t0_ns / 1e9, 6) for tick in ticks],
        values={
            name: [None if tick not in column else float(f"{column[tick]:.6g}") for tick in ticks]
            for name, column in columns.items()
        },
    )
