"""No finished trial is lost and the index stays sound, whatever is killed and whatever fills up."""

from __future__ import annotations

import ctypes
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from orchestrator import archive
from orchestrator.experiments.files import append_line, replacing, whole_lines, write_json
from orchestrator.store import INTERRUPTED, Run, Store, StoreFull, connect, new_run_id
from tests.orchestrator.processes import ENVIRONMENT, REPOSITORY
from tests.orchestrator.run_files import RUN_ARCHIVE_ID, small_archive


@pytest.mark.parametrize(("script", "least"), [("kill_points", 200), ("kill_points_runs", 100)])
def test_killed_at_any_line_it_has_lost_nothing_that_it_acknowledged(script: str, least: int) -> None:
    # In memory where that can be: a process is killed and not the machine, and no disk has to be waited for.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="killed-", dir=memory) as place:
        command = [sys.executable, "-m", f"tests.orchestrator.{script}", place]
        done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > least


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 512 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"none", bytes(place), b"tmpfs", 0, b"size=512k") != 0:
        raise OSError(ctypes.get_errno(), "cannot mount a tmpfs")
    yield place
    assert libc.umount2(bytes(place), 2) == 0


def fill(filler: Path) -> None:
    """Leave no room beside a file that is there."""
    with filler.open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


@pytest.mark.root
async def test_a_disk_that_fills_up_keeps_every_trial_and_the_index(small_disk: Path) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(bytes(64 << 10))
    store = await Store.open(small_disk)
    run = replace(await store.add(Run(new_run_id(), "cp")), state="running")
    await store.update(run)
    path = store.directory(run.id) / "trials.jsonl"
    kept = 0
    with pytest.raises(OSError, match="No space left"):
        for number in count():
            append_line(path, {"number": number, "text": "x" * 3000})
            kept = number + 1
    fill(filler)
    with pytest.raises(StoreFull):
        await store.update(replace(run, state="failed", message="y" * 5000))
    refused = Run(new_run_id(), "cp")
    with pytest.raises(StoreFull):
        await store.add(refused)
    with pytest.raises(StoreFull):
        await archive.bring_in(store, io.BytesIO(small_archive()))
    with pytest.raises(OSError, match="No space left"):
        write_json(store.directory(run.id) / "result.json", {"text": "x" * 20_000})
    assert sorted(one.name for one in (small_disk / "runs").iterdir()) == [run.id]
    assert sorted(one.name for one in store.directory(run.id).iterdir()) == ["run.json", "trials.jsonl"]
    numbers = [json.loads(line)["number"] for line in path.read_bytes().splitlines()]
    assert numbers == list(range(kept)) and kept > 10
    filler.unlink()
    append_line(path, {"number": kept})
    assert [json.loads(line)["number"] for line in path.read_bytes().splitlines()] == list(range(kept + 1))
    await store.add(Run(new_run_id(), "cp"))
    assert (await archive.bring_in(store, io.BytesIO(small_archive()))).id == RUN_ARCHIVE_ID
    assert (await store.get(run.id)).message == "y" * 5000  # type: ignore[union-attr]
    await store.close()
    database = connect(small_disk)
    assert database.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    database.close()


@pytest.mark.parametrize("torn", [b"{", b'{"number": 1, "text": "' + b"x" * 200_000, b"\xff"])
def test_half_a_line_of_a_killed_writer_does_not_spoil_the_next(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "trials.jsonl"
    append_line(path, {"number": 0})
    with path.open("ab") as file:
        file.write(torn)
    assert whole_lines(path) == b'{"number": 0}\n'
    append_line(path, {"number": 1})
    assert [json.loads(line)["number"] for line in path.read_bytes().splitlines()] == [0, 1]


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "figure.png"

    def fail() -> None:
        with replacing(path) as file:
            file.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert os.listdir(tmp_path) == []
    write_json(path, {"a": 1})
    with pytest.raises(ZeroDivisionError):
        fail()
    assert json.loads(path.read_text()) == {"a": 1}
    assert os.listdir(tmp_path) == ["figure.png"]


async def test_an_index_that_was_lost_is_made_again_from_the_directories(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    runs = [await store.add(Run(new_run_id(), "cp", {"quick": True})) for _ in range(3)]
    await store.update(replace(runs[0], state="done", verdict="reproduced"))
    await store.update(replace(runs[1], state="running"))
    await archive.bring_in(store, io.BytesIO(small_archive()))
    before = {run.id: run for run in await store.list()}
    await store.close()
    (tmp_path / "index.sqlite").unlink()
    (tmp_path / "runs" / "notes").mkdir()
    for name, text in (("20260101-000000-eeeeee", "{"), ("20260101-000000-ffffff", '{"id": 7}')):
        (tmp_path / "runs" / name).mkdir()
        (tmp_path / "runs" / name / "run.json").write_text(text)
    store = await Store.open(tmp_path)
    found = {run.id: run for run in await store.list()}
    for same in (runs[0].id, RUN_ARCHIVE_ID):
        assert found[same] == before[same]
    assert (found[runs[1].id].state, found[runs[1].id].message) == ("interrupted", INTERRUPTED)
    assert set(found) == {runs[0].id, runs[1].id, RUN_ARCHIVE_ID}  # nothing was done for the third
    await store.close()


async def test_an_index_of_version_1_is_taken_over(tmp_path: Path) -> None:
    with connect(tmp_path) as database:
        database.execute(
            "CREATE TABLE runs (id TEXT PRIMARY KEY, experiment TEXT NOT NULL, lab TEXT,"
            " options TEXT NOT NULL, state TEXT NOT NULL, message TEXT NOT NULL, verdict TEXT,"
            " created TEXT NOT NULL, started TEXT, finished TEXT) STRICT"
        )
        database.execute(
            "INSERT INTO runs VALUES ('20250101-000000-abcdef', 'fddi', NULL, '{}', 'done', '', 'reproduced',"
            " '2025-01-01T00:00:00Z', NULL, NULL)"
        )
        database.execute("PRAGMA user_version = 1")
    database.close()
    store = await Store.open(tmp_path)
    (run,) = await store.list()
    assert (run.state, run.verdict, run.imported) == ("done", "reproduced", None)
    await store.add(Run(new_run_id(), "cp", imported={"machine": "other"}))
    await store.close()
    store = await Store.open(tmp_path)
    assert [one.imported for one in await store.list()] == [{"machine": "other"}, None]
    await store.close()


async def test_a_run_whose_directory_was_removed_still_ends(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    run = await store.add(Run(new_run_id(), "cp"))
    (store.directory(run.id) / "run.json").unlink()
    store.directory(run.id).rmdir()
    await store.update(replace(run, state="failed", message="gone"))
    other = await store.add(Run(new_run_id(), "cp"))
    assert [one.state for one in await store.list()] == ["queued", "failed"]
    assert await store.get(other.id) == other
    await store.close()
