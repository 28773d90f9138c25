"""The model behind `FakeMachine` for workloads within one host: rows of processes, and copies of files."""

from __future__ import annotations

import time
from collections.abc import Callable

from agents.client import Json
from tests.agents.traffic_model import FakeLab, FakeWorkload, sample

Rate = Callable[[list[Json]], float]
"""MB/s of a row of processes, from their specifications in the order of the data."""
WRITERS = ("producer", "server")
FILE_BYTES = 64 << 20


def usual_rate(specs: list[Json]) -> float:
    """As the paper's machine: conventional I/O copies at each process, containers cost what is mapped."""
    systems = [spec["system"] for spec in specs]
    touched = {"none": 0.0, "half": 0.36, "full": 0.73}[specs[0]["params"].get("map", "none")]
    if set(systems) == {"linux"}:
        return 60.0 / len(systems)
    costs = sum(1.0 if system == "copy" else 0.2 for system in systems)
    return 100.0 / (costs + touched)


def hand_over(lab: FakeLab, writer: FakeWorkload, rate: Rate, speed: float) -> None:
    """All that a writer does and every process after it, at once; they are seen to be done when they would
    be."""
    row = _row(lab, writer)
    params = writer.spec["params"]
    mbytes = rate([one.spec for one in row])
    warmup, duration = params["warmup_s"], params["duration_s"]
    t0 = time.monotonic_ns()
    for one in row:
        one.ends = time.monotonic() + (warmup + duration) / speed
        one.result = {
            "bytes": int(mbytes * 1e6 * (warmup + duration)),
            "t0_ns": t0,
            "t1_ns": t0 + int(duration * 1e9),
            "busy": 0.9,
            "mbytes_per_s": mbytes,
            "mismatches": 0,
            "dropped": 0,
            "ended": True,
        }
        tenths = range(int((warmup + duration) * 10))
        rate_each = {"bytes_in": lambda come: int(mbytes * 1e5 * come)}
        sample(one, tenths, lambda tenth: t0 + tenth * 100_000_000, rate_each)


def copy_file(copier: FakeWorkload, speed: float) -> None:
    """A copy of a file, done after half a second."""
    copier.ends = time.monotonic() + 0.5 / speed
    copier.result = {
        "bytes": FILE_BYTES,
        "operations": FILE_BYTES // copier.spec["params"]["operation_bytes"],
        "t0_ns": 0,
        "t1_ns": 500_000_000,
    }


def _row(lab: FakeLab, writer: FakeWorkload) -> list[FakeWorkload]:
    row, channel = [writer], writer.spec["params"]["channel"]
    while channel is not None:
        reader = next(
            one
            for one in lab.workloads.values()
            if one not in row and one.spec["params"].get("channel") == channel and one.state == "running"
        )
        row.append(reader)
        channel = reader.spec["params"].get("out_channel")
    return row
