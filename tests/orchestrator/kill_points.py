"""`python kill_points.py DIR`: a writer of results, killed at every line that it executes.

For each line of the modules that write, a child does all there is to do with runs and is killed (SIGKILL)
before that line. Then an orchestrator opens what is left: whatever was acknowledged must be there, whole,
and the index sound. Prints how often it killed; raises AssertionError at the first loss.
"""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from pathlib import Path

from orchestrator import archive, rundir, store
from orchestrator.experiments import files
from orchestrator.experiments.files import append_line, whole_lines, write_json
from orchestrator.store import Run, Store, connect
from tests.orchestrator.killing import END, Acknowledge, killed_everywhere
from tests.orchestrator.run_files import RUN_ARCHIVE_ID, small_archive

OWN = "20260202-000000-abcdef"
TRIALS = 2
CONTENT = small_archive()


async def write(state: Path, acknowledge: Acknowledge) -> None:
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
    await archive.bring_in(one, io.BytesIO(CONTENT))
    acknowledge("imported")
    await one.close()
    acknowledge(END)


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


if __name__ == "__main__":
    print(killed_everywhere(Path(sys.argv[1]), (files, rundir, store), write, check))
