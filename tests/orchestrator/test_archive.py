"""A run as one file: what comes back is what went out, and what was tampered with leaves nothing behind."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import random
import zipfile
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator import archive
from orchestrator.archive import ArchiveError, Known, bring_in
from orchestrator.store import Run, Store, StoreError
from tests.orchestrator.run_files import FILES, stored

RUN = "20260101-000000-abcdef"
Files = dict[str, bytes]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The archive of a finished run."""

    async def export() -> bytes:
        store = await Store.open(tmp_path_factory.mktemp("origin"))
        run = await stored(store, RUN)
        await store.close()
        target = io.BytesIO()
        archive.export(run, store.directory(RUN), target)
        return target.getvalue()

    return asyncio.run(export())


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path)
    yield opened
    await opened.close()


def unzipped(content: bytes) -> Files:
    with zipfile.ZipFile(io.BytesIO(content)) as one:
        return {name: one.read(name) for name in one.namelist()}


def zipped(files: Files) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as one:
        for name, content in files.items():
            one.writestr(name, content)
    return target.getvalue()


def resealed(files: Files, **manifest: Any) -> bytes:
    """The archive with a manifest that fits its files: what somebody would make who means harm."""
    document = json.loads(files["manifest.json"])
    document["files"] = {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in files.items()
        if name != "manifest.json"
    }
    return zipped(files | {"manifest.json": json.dumps(document | manifest).encode()})


def left(store: Store) -> list[str]:
    return sorted(str(path.relative_to(store.state)) for path in store.state.rglob("*") if path.is_file())


async def test_an_archive_comes_back_as_it_went_out_and_is_marked(store: Store, exported: bytes) -> None:
    run = await bring_in(store, io.BytesIO(exported))
    assert (run.id, run.state, run.verdict, run.options) == (RUN, "done", "reproduced", {"quick": False})
    assert run.imported is not None
    assert set(run.imported) == {"machine", "exported", "version", "imported"}
    assert await store.get(RUN) == run == (await store.list())[0]
    assert {path.name for path in store.directory(RUN).iterdir()} == FILES | {"run.json"}
    out = unzipped(exported)
    for name in FILES:
        assert (store.directory(RUN) / name).read_bytes() == out[name]
    # Handed on, it still comes from where it was done.
    again = io.BytesIO()
    archive.export(run, store.directory(RUN), again)
    assert unzipped(again.getvalue()) == out


async def test_the_same_run_twice_is_refused_and_the_first_stays(store: Store, exported: bytes) -> None:
    await bring_in(store, io.BytesIO(exported))
    before = left(store)
    with pytest.raises(Known, match=f"there is a run {RUN} already"):
        await bring_in(store, io.BytesIO(exported))
    outcomes = await asyncio.gather(
        *(bring_in(store, io.BytesIO(exported)) for _ in range(3)), return_exceptions=True
    )
    assert {type(one) for one in outcomes} == {Known}
    assert left(store) == before


async def test_a_directory_of_that_name_is_not_touched(store: Store, exported: bytes) -> None:
    store.directory(RUN).mkdir(parents=True)
    (store.directory(RUN) / "mine").touch()
    with pytest.raises(Known, match="there is a directory of a run"):
        await bring_in(store, io.BytesIO(exported))
    assert left(store) == ["index.sqlite", f"runs/{RUN}/mine"]
    assert await store.get(RUN) is None


def changed(files: Files, name: str, change: Callable[[Any], object]) -> Files:
    document = json.loads(files[name])
    change(document)
    return files | {name: json.dumps(document).encode()}


def bomb() -> bytes:
    return b'{"format": 2, "outcomes": [' + b"0," * (40 << 20) + b"0]}"


MANIFEST, RESULT = "manifest.json", "result.json"
TAMPERED: dict[str, tuple[Callable[[Files], bytes], str]] = {
    "no zip": (lambda files: b"PK\x03\x04 not really", "the archive is damaged"),
    "empty": (lambda files: b"", "the archive is damaged"),
    "no manifest": (
        lambda files: zipped({n: c for n, c in files.items() if n != MANIFEST}),
        "no manifest.json",
    ),
    "another manifest": (lambda files: zipped(files | {MANIFEST: b"[1]"}), "not that of an exported run"),
    "manifest no JSON": (lambda files: zipped(files | {MANIFEST: b"{"}), "manifest.json is no JSON"),
    "manifest nested": (lambda files: zipped(files | {MANIFEST: b"[" * 200_000}), "is no JSON"),
    "manifest too long": (
        lambda files: zipped(files | {MANIFEST: b" " * (2 << 20)}),
        "not that of an exported run",
    ),
    "newer format": (lambda files: resealed(files, format=3), r"has format 3; this .* reads up to 2"),
    "no format": (lambda files: resealed(files, format="2"), "has format '2'"),
    "unknown field": (lambda files: resealed(files, extra=1), "manifest.json is damaged: extra"),
    "path above": (
        lambda files: resealed(files | {"../../etc/cron.d/x.json": b"{}"}),
        "a file '../../etc/cron.d/x.json', which no run has",
    ),
    "absolute path": (lambda files: resealed(files | {"/etc/x.json": b"{}"}), "a file '/etc/x.json'"),
    "folder": (lambda files: resealed(files | {"sub/x.json": b"{}"}), "a file 'sub/x.json'"),
    "program": (lambda files: resealed(files | {"run.sh": b"rm"}), "a file 'run.sh'"),
    "run.json": (lambda files: resealed(files | {"run.json": b"{}"}), "a file 'run.json'"),
    "many files": (
        lambda files: resealed(files | {f"f{i}.json": b"{}" for i in range(64)}),
        "more than 64 files",
    ),
    "file not named": (lambda files: zipped(files | {"more.json": b"{}"}), "does not have the files"),
    "file missing": (
        lambda files: zipped({n: c for n, c in files.items() if n != RESULT}),
        "does not have the files",
    ),
    "changed": (lambda files: zipped(files | {RESULT: files[RESULT] + b" "}), "result.json is damaged"),
    "other bytes": (
        lambda files: zipped(files | {"figure.png": bytes(len(files["figure.png"]))}),
        "figure.png is damaged",
    ),
    "not JSON": (lambda files: resealed(files | {"definition.json": b"{]"}), "definition.json is no JSON"),
    "NaN": (lambda files: resealed(files | {"definition.json": b'{"a": NaN}'}), "NaN is no JSON"),
    "list": (lambda files: resealed(files | {"environment.json": b"[]"}), "is no JSON object"),
    "trial no object": (lambda files: resealed(files | {"trials.jsonl": b"1\n"}), "a line that is no JSON"),
    "torn trials": (lambda files: resealed(files | {"trials.jsonl": b"{}"}), "a line without an end"),
    "no picture": (lambda files: resealed(files | {"figure.png": b"<html>"}), "figure.png is no PNG"),
    "no table": (lambda files: resealed(files | {"trials.parquet": b"x"}), "trials.parquet is no PARQUET"),
    "no result": (
        lambda files: resealed({n: c for n, c in files.items() if n != RESULT}),
        "the run is done, but the archive has no result.json",
    ),
    "result of another shape": (
        lambda files: resealed(changed(files, RESULT, lambda one: one.pop("rows"))),
        "result.json is no result: rows",
    ),
    "result of another run": (
        lambda files: resealed(changed(files, RESULT, lambda one: one.update(experiment="ipc"))),
        "of another run than the manifest",
    ),
    "a bomb": (lambda files: resealed(files | {"outcomes.json": bomb()}), "more than 64 MiB"),
    "id above": (
        lambda files: zipped(changed(files, MANIFEST, lambda one: one["run"].update(id="../../x"))),
        "manifest.json is damaged: run.id",
    ),
    "not ended": (
        lambda files: zipped(changed(files, MANIFEST, lambda one: one["run"].update(state="running"))),
        "manifest.json is damaged: run.state",
    ),
    "size below": (
        lambda files: zipped(changed(files, MANIFEST, lambda one: one["files"][RESULT].update(bytes=3))),
        "result.json is damaged",
    ),
    "size beyond": (
        lambda files: zipped(
            changed(files, MANIFEST, lambda one: one["files"][RESULT].update(bytes=500 << 20))
        ),
        "result.json is damaged",
    ),
    "sizes beyond": (
        lambda files: zipped(
            changed(files, MANIFEST, lambda one: [f.update(bytes=400 << 20) for f in one["files"].values()])
        ),
        "more than 512 MiB",
    ),
}


@pytest.mark.parametrize("what", TAMPERED)
async def test_what_was_tampered_with_is_refused_and_leaves_nothing(
    store: Store, exported: bytes, what: str
) -> None:
    make, says = TAMPERED[what]
    with pytest.raises(ArchiveError, match=says):
        await bring_in(store, io.BytesIO(make(unzipped(exported))))
    assert left(store) == ["index.sqlite"]
    assert await store.list() == []


async def test_a_file_twice_is_refused(store: Store, exported: bytes) -> None:
    target = io.BytesIO(exported)
    with (
        pytest.warns(UserWarning, match="Duplicate name"),
        zipfile.ZipFile(target, "a") as one,
    ):
        one.writestr(RESULT, b"{}")
    with pytest.raises(ArchiveError, match="a file twice"):
        await bring_in(store, target)
    assert left(store) == ["index.sqlite"]


async def test_damage_anywhere_is_refused_and_leaves_nothing(store: Store, exported: bytes) -> None:
    chance = random.Random(1)
    for attempt in range(150):
        damaged = bytearray(exported)
        if attempt % 3:
            for _ in range(1 + attempt % 4):
                damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        else:
            del damaged[chance.randrange(len(damaged)) :]
        try:
            await bring_in(store, io.BytesIO(damaged))
        except ArchiveError:
            assert left(store) == ["index.sqlite"]
        else:  # a date or an attribute, which nothing reads
            assert {n: (store.directory(RUN) / n).read_bytes() for n in FILES} == {
                n: c for n, c in unzipped(exported).items() if n in FILES
            }
            return


async def test_only_a_run_that_has_ended_is_exported(store: Store) -> None:
    run = await store.add(Run(RUN, "cp"))
    with pytest.raises(ArchiveError, match=f"the run {RUN} is queued"):
        archive.export(run, store.directory(RUN), io.BytesIO())


async def test_a_run_that_failed_is_exported_with_its_whole_trials(store: Store, tmp_path: Path) -> None:
    run = replace(await store.add(Run(RUN, "cp")), state="failed", message="interrupted")
    await store.update(run)
    (store.directory(RUN) / "trials.jsonl").write_bytes(b'{"number": 0}\n{"number"')
    (store.directory(RUN) / "notes.txt").write_text("not of the run")
    target = io.BytesIO()
    archive.export(run, store.directory(RUN), target)
    assert unzipped(target.getvalue())["trials.jsonl"] == b'{"number": 0}\n'
    (tmp_path / "other").mkdir()
    other = await Store.open(tmp_path / "other")
    found = await bring_in(other, target)
    await other.close()
    assert (found.state, found.message) == ("failed", "interrupted")
    assert left(other) == ["index.sqlite", f"runs/{RUN}/run.json", f"runs/{RUN}/trials.jsonl"]


async def test_a_disk_that_cannot_be_written_leaves_nothing(
    store: Store, exported: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(handle: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("orchestrator.archive.os.fsync", refuse)
    with pytest.raises(StoreError, match="Input/output error"):
        await bring_in(store, io.BytesIO(exported))
    assert left(store) == ["index.sqlite"]
