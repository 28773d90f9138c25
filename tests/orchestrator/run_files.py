"""A finished run as its files, with values that a test chooses, written by what writes real ones."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from orchestrator import archive
from orchestrator.experiments.definitions import Options
from orchestrator.experiments.figure import Axis, draw
from orchestrator.experiments.journal import Journal
from orchestrator.experiments.local.definition import LOCAL
from orchestrator.experiments.local.judge import judge
from orchestrator.experiments.local.trial import LocalTrial
from orchestrator.experiments.result import Outcome, Result
from orchestrator.experiments.series import Series
from orchestrator.store import Run, Store

CP = LOCAL["cp"]
VALUES = {"linux": [100.0, 101.0, 99.0, 100.5, 99.5], "shipping": [150.0, 152.0, 148.0, 151.0, 149.0]}
MACHINE: dict[str, Any] = {
    "time": "2026-01-01T00:00:00Z",
    "load_average": [0.1, 0.1, 0.1],
    "page_touch_us": {"warm": 0.1, "rested": 0.2},
    "project": {"commit": "0" * 40, "dirty": False},
    "kernel": "6.1",
    "lab": {"lab": "x", "topology": {"name": "one-host"}, "steering": {"applied": True}},
}
FILES = {
    "definition.json",
    "environment.json",
    "figure.png",
    "figure.svg",
    "outcomes.json",
    "result.json",
    "series.csv",
    "series.parquet",
    "trials.csv",
    "trials.jsonl",
    "trials.parquet",
}
"""What every finished run has, beside run.json."""


def trial(number: int, round_: int, system: str, value: float | None) -> LocalTrial:
    """A trial with that value, invalid without one."""
    return LocalTrial(
        number=number,
        round=round_,
        system=system,
        factors={},
        started=1_767_225_600.0 + number,
        seconds=1.5,
        valid=value is not None,
        reasons=[] if value is not None else ["books differ: 7 bytes"],
        results={"copier": {"bytes": 64 << 20, "same": True, "bins": [1, 2]}},
        value=value,
        series=Series(interval_s=0.5, t_s=[0.5, 1.0], values={"mbytes_per_s": [value, None]}),
    )


async def written(
    directory: Path,
    values: Mapping[str, Sequence[float | None]] = VALUES,
    machine: Mapping[str, Any] = MACHINE,
    options: Options | None = None,
) -> Result:
    """All files of a run of `cp` in a directory, which exists. `machine`: its environment."""
    journal: Journal[LocalTrial] = Journal(directory, lambda event: None, 1.0, LocalTrial)
    options = options or Options()
    journal.begin(CP, options, 1)
    rounds = [(system, i, value) for system, each in values.items() for i, value in enumerate(each)]
    for number, (system, round_, value) in enumerate(sorted(rounds, key=lambda one: one[1])):
        journal.keep(trial(number, round_, system, value))
    outcomes = [Outcome(t.round, t.system, t.factors, t.value, None, t.valid) for t in journal.trials]
    return await journal.conclude(
        CP,
        options,
        1,
        outcomes,
        (dict(machine), dict(machine)),
        lambda counted: judge(CP, counted, [], 1, 500),
        partial(draw, axis=Axis(None, "", "MB/s")),
        {},
    )


async def stored(store: Store, run_id: str, **named: Any) -> Run:
    """A run that is done, with its files, in a store."""
    run = await store.add(Run(run_id, "cp", {"quick": False}))
    result = await written(store.directory(run.id), **named)
    run = replace(
        run,
        state="done",
        lab="cp-000000",
        verdict=result.verdict,
        started="2026-01-01T00:00:00.000Z",
        finished="2026-01-01T00:01:00.000Z",
    )
    await store.update(run)
    return run


RUN_ARCHIVE_ID = "20260101-000000-0a0a0a"


def small_archive() -> bytes:
    """The archive of a run that failed after its first trial."""
    run = Run(RUN_ARCHIVE_ID, "cp", state="failed", message="interrupted", created="2026-01-01T00:00:00.000Z")
    target = io.BytesIO()
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "trials.jsonl").write_bytes(b'{"number": 0}\n')
        archive.export(run, Path(directory), target)
    return target.getvalue()
