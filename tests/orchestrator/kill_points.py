"""`python kill_points.py DIR`: a writer of results, killed at every line that it executes.

For each line of the modules that write, a child does all there is to do with runs and is killed (SIGKILL)
before that line. Then an orchestrator opens what is left: whatever was acknowledged must be there, whole,
and the index sound. Prints how often it killed; raises AssertionError at the first loss.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import signal
import sys
import threading
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any

from orchestrator import archive, rundir, store
from orchestrator.experiments import files
from orchestrator.experiments.files import append_line, whole_lines, write_json
from orchestrator.store import Run, Store, connect
from tests.orchestrator.run_files import RUN_ARCHIVE_ID, small_archive

WATCHED = {module.__file__ for module in (files, rundir, store)}
OWN = "20260202-000000-abcdef"
TRIALS = 2


class Killer:
    """Ends this process before it executes its n-th line of the watched modules."""

    def __init__(self, number: int) -> None:
        self._left = number

    def trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename not in WATCHED:
            return None
        if event == "line":
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return self.trace


async def write(state: Path, acknowledge: Any, content: bytes) -> None:
    """A run from its beginning to its end, and an import; `acknowledge` is told what is done."""
    one = await Store.open(state)
    run = await one.add(Run(OWN, "cp", {"quick": True}))
    acknowledge("added")
    run = replace(run, state="running")
    await one.update(run)
    directory = one.directory(OWN)
    for number in range(TRIALS):
        append_line(directory / "trials.jsonl", {"number": number, "text": "x" * 300})
        acknowledge(f"trial {number}")
    write_json(directory / "result.json", {"verdict": "reproduced"})
    acknowledge("result")
    await one.update(replace(run, state="done", verdict="reproduced"))
    acknowledge("done")
    await archive.bring_in(one, io.BytesIO(content))
    acknowledge("imported")
    await one.close()


def child(state: Path, number: int, acknowledgements: int, content: bytes) -> None:
    """Never returns: killed, or exit status 0."""
    killer = Killer(number)
    threading.settrace(killer.trace)
    sys.settrace(killer.trace)
    try:
        asyncio.run(write(state, lambda word: os.write(acknowledgements, word.encode() + b"\n"), content))
    finally:
        os._exit(0)


async def check(state: Path, told: set[str]) -> None:
    """What was acknowledged is there, what was not is whole or not there, and all can be gone on with."""
    one = await Store.open(state)
    runs = {run.id: run for run in await one.list()}
    own = runs.get(OWN)
    assert ("added" in told) <= (own is not None), told
    if own is not None:
        directory = one.directory(OWN)
        assert directory.is_dir(), told
        assert own.state in ("done", "interrupted") and ("done" in told) <= (own.state == "done"), own
        assert own.state == "done" or own.message.startswith("interrupted"), own
        lines = [json.loads(line) for line in whole_lines(directory / "trials.jsonl").splitlines()]
        numbers = [line["number"] for line in lines]
        acknowledged = sum(word.startswith("trial") for word in told)
        assert numbers == list(range(len(numbers))) and len(numbers) >= acknowledged, (told, numbers)
        if "result" in told:
            assert json.loads((directory / "result.json").read_bytes())["verdict"] == "reproduced"
        append_line(directory / "trials.jsonl", {"number": len(numbers)})
        again = [
            json.loads(line)["number"] for line in (directory / "trials.jsonl").read_bytes().splitlines()
        ]
        assert again == [*numbers, len(numbers)], again
    imported = runs.get(RUN_ARCHIVE_ID)
    assert ("imported" in told) <= (imported is not None), told
    assert one.directory(RUN_ARCHIVE_ID).exists() == (imported is not None), told
    if imported is not None:
        assert imported.imported is not None and imported.state == "failed"
        assert (one.directory(RUN_ARCHIVE_ID) / "trials.jsonl").read_bytes() == b'{"number": 0}\n'
    assert not [path for path in (state / "runs").iterdir() if path.name.startswith(".")], told
    assert set(runs) == {path.name for path in (state / "runs").iterdir()}
    await one.close()
    database = connect(state)
    assert database.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    database.close()


def attempt(state: Path, number: int, content: bytes) -> bool:
    """Whether a child was killed at its n-th line; then all is well with what it left."""
    mine, its = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(mine)
        child(state, number, its, content)
    os.close(its)
    with os.fdopen(mine, "rb") as pipe:
        told = {line.decode() for line in pipe.read().splitlines()}
    _, status = os.waitpid(pid, 0)
    killed = os.WIFSIGNALED(status)
    assert killed or "imported" in told, f"the writer itself failed: {told}"
    asyncio.run(check(state, told))
    return killed


def main() -> None:
    base, content = Path(sys.argv[1]), small_archive()
    for number in count(1):
        state = base / str(number)
        (state / "runs").mkdir(parents=True)
        if not attempt(state, number, content):
            break
        shutil.rmtree(state)
    print(number - 1)


if __name__ == "__main__":
    main()
