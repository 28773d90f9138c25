"""The store: nothing half-written, whatever dies or fills up."""

import asyncio
import os
import re
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.state import StateError, owned
from orchestrator.store import Run, Store, StoreError, StoreFull, connect, new_run_id, read_runs

REPOSITORY = Path(__file__).resolve().parents[2]

ENDLESS_WRITER = """
import asyncio, sys
from dataclasses import replace
from pathlib import Path
from orchestrator.store import Run, Store, new_run_id
async def main():
    store = await Store.open(Path(sys.argv[1]))
    while True:
        run = await store.add(Run(new_run_id(), "fddi", {"trials": 1}))
        await store.update(replace(run, state="running"))
        print(run.id, flush=True)
asyncio.run(main())
"""


async def test_runs_are_kept_and_listed_newest_first(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    runs = [await store.add(Run(new_run_id(), "fddi", {"quick": True})) for _ in range(3)]
    await store.update(replace(runs[1], state="done", verdict="reproduced"))
    await store.close()
    store = await Store.open(tmp_path)
    found = await store.list()
    assert [run.id for run in found] == [run.id for run in reversed(runs)]
    assert (found[1].state, found[1].verdict, found[1].options) == ("done", "reproduced", {"quick": True})
    assert await store.get("none") is None
    await store.close()
    assert read_runs(tmp_path) == found


def test_ids_say_when_and_are_safe_as_names() -> None:
    assert re.fullmatch(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{6}", new_run_id())


def written_until_killed(state: Path) -> list[str]:
    """The ids of runs whose writing was confirmed before the writer was killed."""
    command = [sys.executable, "-c", ENDLESS_WRITER, str(state)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as writer:
        assert writer.stdout is not None
        first = [writer.stdout.readline().strip() for _ in range(5)]
        os.kill(writer.pid, signal.SIGKILL)
        return first + writer.stdout.read().split()


async def test_killed_in_the_middle_of_writing_it_is_whole_and_its_runs_are_interrupted(
    tmp_path: Path,
) -> None:
    acknowledged = await asyncio.to_thread(written_until_killed, tmp_path)
    store = await Store.open(tmp_path)
    found = {run.id: run for run in await store.list(10_000)}
    assert set(acknowledged) <= set(found)
    assert {run.state for run in found.values()} == {"interrupted"}
    assert all(run.message.startswith("interrupted") for run in found.values())
    await store.close()
    with connect(tmp_path) as database:
        assert database.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    database.close()


async def test_a_full_disk_is_told_and_what_was_stored_is_intact(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    kept = await store.add(Run(new_run_id(), "fddi"))

    def limit(database: sqlite3.Connection) -> None:
        pages = database.execute("PRAGMA page_count").fetchone()[0]
        database.execute(f"PRAGMA max_page_count = {pages}")

    await store._do(limit)
    large = replace(kept, message="x" * 100_000, state="failed")
    with pytest.raises(StoreFull, match=re.escape(f"no space left for results in {tmp_path}")):
        await store.update(large)
    assert await store.get(kept.id) == large
    refused = Run(new_run_id(), "fddi", {"much": "x" * 100_000})
    with pytest.raises(StoreFull):
        await store.add(refused)
    assert not store.directory(refused.id).exists()

    await store._do(lambda database: database.execute("PRAGMA max_page_count = 1000000"))
    await store.add(Run(new_run_id(), "fddi"))
    await store.update(kept)
    await store.close()
    assert {run.id: run.message for run in read_runs(tmp_path)}[kept.id] == ""


async def test_an_index_that_is_none_or_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "index.sqlite").write_text(
        "this is not a database, but it is long enough to be looked at" * 20
    )
    with pytest.raises(StoreError, match="cannot use the index of results in"):
        await Store.open(tmp_path)
    (tmp_path / "index.sqlite").unlink()
    with connect(tmp_path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(StoreError, match="version 99"):
        await Store.open(tmp_path)


def test_a_second_orchestrator_is_refused_and_told_whose_the_state_is(tmp_path: Path) -> None:
    holder = rf"pid {os.getpid()}, at http://127.0.0.1:1"
    with owned(tmp_path, "http://127.0.0.1:1"), pytest.raises(StateError, match=holder), owned(tmp_path, "x"):
        pass
    with owned(tmp_path, "http://127.0.0.1:2"):
        pass


def test_a_state_directory_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="file/state"), owned(tmp_path / "file" / "state", "x"):
        pass


async def test_reading_beside_the_owner_sees_its_runs(tmp_path: Path) -> None:
    assert read_runs(tmp_path) == []
    store = await Store.open(tmp_path)
    run = await store.add(Run(new_run_id(), "fddi"))
    assert await asyncio.to_thread(read_runs, tmp_path) == [run]
    await store.close()
