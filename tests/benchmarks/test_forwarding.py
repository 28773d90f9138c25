"""A user relies on: `bench forwarding` compares two forwarders that both work, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import signal
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from benchmarks import forwarding
from benchmarks.forwarding import raw, signals
from benchmarks.forwarding.trial import SYSTEMS, Load, run_trial, way_through
from orchestrator.experiments.definitions import EXPERIMENTS
from orchestrator.experiments.workloads import Target
from tests.agents.machine_process import machine_process

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")


@needs_compiler
@pytest.mark.root
async def test_both_forward_every_datagram_that_they_can(tmp_path: Path) -> None:
    program = raw.build(tmp_path)
    async with machine_process(fake=False) as machine:
        lab = f"bench-test-{os.getpid()}"
        record = await machine.client.deploy(lab, forwarding._topology())
        for flow, (size, system) in enumerate(itertools.product((1024, 4300), SYSTEMS), start=1):
            definition = EXPERIMENTS["fddi"].model_copy(update={"datagram_bytes": size})
            target = Target.of(machine.client, lab, record, definition)
            load = Load(size, hogs=0, offered=2000.0, seconds=0.2, queue_datagrams=1024)
            for attempt in range(5):  # a busy machine may stop a forwarder with something in its queue
                found = await run_trial(
                    target, way_through(record, target), program, system, load, 10 * flow + attempt
                )
                if found.loss == 0 and found.reason:
                    break
            assert found.loss == 0, (system, size)
            assert found.cpu_us > 0
            assert found.reason and "the source was the bottleneck" in found.reason


@needs_compiler
@pytest.mark.root
def test_the_result_has_the_fixed_shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSSHIP_STATE", str(tmp_path))
    events: list[dict[str, Any]] = []
    result = forwarding.run(1, [1024], 0.3, events.append)
    assert result["benchmark"] == "forwarding"
    assert [row["system"] for row in result["rows"]] == ["shipping", "shipping-frames", "raw"]
    for row in result["rows"]:
        assert set(row["factors"]) == {"bytes", "hogs"}
        assert (row["unit"], row["trials"]) == ("datagrams/s", 1)
        assert row["invalid_trials"] == (row["median"] is None), result["environment"]["notes"]
    pairs = [(ratio["of"], ratio["to"]) for ratio in result["ratios"]]
    assert pairs == [("shipping", "raw"), ("shipping-frames", "raw")]
    assert events[-1]["done"] == events[-1]["total"]


@needs_compiler
def test_the_raw_forwarder_is_compiled_once(tmp_path: Path) -> None:
    program = raw.build(tmp_path / "cache")
    made = program.stat().st_mtime_ns
    assert raw.build(tmp_path / "cache") == program
    assert program.stat().st_mtime_ns == made
    assert list(program.parent.iterdir()) == [program]


@needs_compiler
async def test_a_raw_forwarder_that_cannot_start_says_why(tmp_path: Path) -> None:
    way = raw.Way(
        "no-such", "no/such", "eth0", "eth1", "02:00:00:00:00:01", "02:00:00:00:00:02", "1.1.1.1", "1.1.1.2"
    )
    forwarder = raw.RawForwarder(raw.build(tmp_path), way, 64)
    with pytest.raises(raw.RawError, match="enter the host's network namespace"):
        await forwarder.ready()


def test_a_signal_waits_for_the_cleaning_up() -> None:
    said: list[str] = []

    def handler(number: int, frame: FrameType | None) -> None:
        said.append(signal.Signals(number).name)

    async def work() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            said.append("clean")

    before = signal.signal(signal.SIGTERM, handler)
    try:
        with pytest.raises(asyncio.CancelledError):
            signals.run(work())
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)
    assert said == ["clean", "SIGTERM"]


def test_without_root_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(PermissionError, match="needs root"):
        forwarding.main({"quick": True}, lambda event: None)
