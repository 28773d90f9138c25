"""A run as one file, to keep or to hand on: a zip of the files of its directory, and a manifest.

What comes in is untrusted. Names are of a fixed form without a path, sizes are bounded and compared, every
byte is under a checksum, and documents are parsed before anything of them is stored.
"""

import asyncio
import hashlib
import json
import os
import platform
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestrator import VERSION
from orchestrator.experiments.files import FORMAT, end_of_lines
from orchestrator.experiments.result import Result
from orchestrator.rundir import RUN_FILE, discard
from orchestrator.store import Run, Store, explain, now

MANIFEST = "manifest.json"
KIND = "transship run"
NAME = re.compile(r"[a-z][a-z0-9-]{0,40}\.(json|jsonl|png|svg|csv|parquet)")
MAX_FILES = 64
MAX_ARCHIVE = 256 << 20
MAX_UNPACKED = 512 << 20
"""Bytes of all files together: a long run has some tens of MB."""
MAX_DOCUMENT = 64 << 20
"""Bytes of one JSON document: it is parsed as a whole."""
BLOCK = 1 << 20
EARLY = (1980, 1, 1, 0, 0, 0)
"""The same run gives the same archive, whenever its files were written."""
BEGINNINGS = {".png": b"\x89PNG\r\n\x1a\n", ".parquet": b"PAR1"}

Id = Annotated[str, Field(pattern=r"^[0-9]{8}-[0-9]{6}-[0-9a-f]{6}$")]
Moment = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$")]
Text = Annotated[str, Field(max_length=4096)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")]


class ArchiveError(Exception):
    """A file that cannot be imported, or a run that cannot be exported; the message says why."""


class Known(ArchiveError):
    """The run of an archive is here already."""


class Exact(BaseModel):
    """Base of the manifest's parts."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Origin(Exact):
    """Where an archive comes from: the name of the machine, when it was made, and by which version."""

    machine: Annotated[str, Field(max_length=255)]
    exported: Moment
    version: Annotated[str, Field(max_length=64)]


class Row(Exact):
    """The run, as the index has it."""

    id: Id
    experiment: Name
    options: dict[str, Any]
    lab: Name | None
    state: Literal["done", "invalid", "failed", "cancelled"]
    message: Text
    verdict: Annotated[str, Field(max_length=64)] | None
    created: Moment
    started: Moment | None
    finished: Moment | None


class Packed(Exact):
    """A file in the archive."""

    bytes: Annotated[int, Field(ge=0, le=MAX_UNPACKED)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Manifest(Exact):
    """The first file of an archive. `format` is that of all files in it (docs/results.md)."""

    kind: Literal["transship run"]
    format: int
    origin: Origin
    run: Row
    files: dict[str, Packed]


def export(run: Run, directory: Path, target: BinaryIO) -> None:
    """Writes the archive of a run that has ended. Raises ArchiveError, OSError."""
    if not run.ended:
        raise ArchiveError(f"the run {run.id} is {run.state}; it can be exported once it has ended")
    names = sorted(one.name for one in directory.iterdir() if NAME.fullmatch(one.name) and one.is_file())
    paths = [directory / name for name in names if name not in (RUN_FILE, MANIFEST)]
    here = {"machine": platform.node()[:255], "exported": now(), "version": VERSION}
    row = {name: getattr(run, name) for name in Row.model_fields}
    manifest = Manifest.model_validate(
        {
            "kind": KIND,
            "format": FORMAT,
            # A run that was imported comes from where it was done, however often it is handed on.
            "origin": {k: run.imported[k] for k in Origin.model_fields} if run.imported else here,
            "run": row | {"message": run.message[:4096]},
            "files": {path.name: _packed(path) for path in paths},
        }
    )
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(MANIFEST, EARLY), manifest.model_dump_json(indent=1) + "\n")
        for path in paths:
            info = zipfile.ZipInfo(path.name, EARLY)
            info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w") as packed:
                for block in _blocks(path):
                    packed.write(block)


class Archive:
    """An archive that is to be imported; making one checks all but the contents of its files.

    Raises ArchiveError.
    """

    def __init__(self, file: BinaryIO) -> None:
        with _damage("the archive"):
            self._zip = zipfile.ZipFile(file)
        entries = {one.filename: one for one in self._zip.infolist()}
        if len(entries) != len(self._zip.infolist()) or not 0 < len(entries) <= MAX_FILES + 1:
            raise ArchiveError(f"the archive has a file twice, or more than {MAX_FILES} files")
        if MANIFEST not in entries:
            raise ArchiveError(f"the archive has no {MANIFEST}; it is no exported run")
        self.manifest = self._manifest(entries[MANIFEST])
        files = self.manifest.files
        if unknown := [name for name in files if not NAME.fullmatch(name) or name in (RUN_FILE, MANIFEST)]:
            raise ArchiveError(f"the archive has a file {unknown[0][:80]!r}, which no run has")
        if set(files) != set(entries) - {MANIFEST}:
            raise ArchiveError("the archive does not have the files that its manifest names")
        if sum(one.bytes for one in files.values()) > MAX_UNPACKED:
            raise ArchiveError(f"the files of the archive have more than {MAX_UNPACKED >> 20} MiB")

    @property
    def run(self) -> Run:
        """The run, marked as imported."""
        imported = {**self.manifest.origin.model_dump(), "imported": now()}
        return Run(**self.manifest.run.model_dump(), imported=imported)

    def unpack(self, directory: Path) -> None:
        """Writes the files into a directory, on the disk when this returns. Raises ArchiveError for any
        damage, OSError; what was written by then is the caller's to discard."""
        for name, packed in self.manifest.files.items():
            self._write(name, packed, directory / name)
        self._check(directory)

    def _manifest(self, entry: zipfile.ZipInfo) -> Manifest:
        with _damage(MANIFEST), self._zip.open(entry) as file:
            text = file.read(BLOCK + 1)
        document = _document(MANIFEST, text) if len(text) <= BLOCK else None
        if not isinstance(document, dict) or document.get("kind") != KIND:
            raise ArchiveError(f"the archive's {MANIFEST} is not that of an exported run")
        made = document.get("format")
        if not isinstance(made, int) or made > FORMAT:
            raise ArchiveError(
                f"the archive has format {made!r}; this version of Transship ({VERSION}) reads up to {FORMAT}"
            )
        try:
            return Manifest.model_validate(document)
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            place = ".".join(map(str, fault["loc"]))
            raise ArchiveError(f"the archive's {MANIFEST} is damaged: {place}: {fault['msg']}") from None

    def _write(self, name: str, packed: Packed, path: Path) -> None:
        digest, left = hashlib.sha256(), packed.bytes
        with _damage(name), self._zip.open(name) as source, path.open("xb") as target:
            # One byte more than there may be tells that there are more.
            while block := source.read(min(BLOCK, left + 1)):
                left -= len(block)
                if left < 0:
                    break
                digest.update(block)
                target.write(block)
            target.flush()
            os.fsync(target.fileno())
        if left != 0 or digest.hexdigest() != packed.sha256:
            raise ArchiveError(f"{name} is damaged: it is not the file that the manifest describes")

    def _check(self, directory: Path) -> None:
        """That the files are what their names say, and speak of the run of the manifest."""
        row = self.manifest.run
        for name in self.manifest.files:
            path = directory / name
            if path.suffix == ".json":
                if not isinstance(_parsed(path), dict):
                    raise ArchiveError(f"{name} is no JSON object")
            elif path.suffix == ".jsonl":
                for line in _lines(path):
                    if not isinstance(_document(name, line), dict):
                        raise ArchiveError(f"{name} has a line that is no JSON object")
            elif beginning := BEGINNINGS.get(path.suffix):
                with path.open("rb") as file:
                    if file.read(len(beginning)) != beginning:
                        raise ArchiveError(f"{name} is no {path.suffix[1:].upper()} file")
        if "result.json" not in self.manifest.files:
            if row.state in ("done", "invalid"):
                raise ArchiveError(f"the run is {row.state}, but the archive has no result.json")
            return
        try:
            result = Result.model_validate(_parsed(directory / "result.json"))
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            place = ".".join(map(str, fault["loc"]))
            raise ArchiveError(f"result.json is no result: {place}: {fault['msg']}") from None
        if (result.experiment, result.verdict) != (row.experiment, row.verdict or result.verdict):
            raise ArchiveError("result.json is of another run than the manifest")


async def bring_in(store: Store, file: BinaryIO) -> Run:
    """Imports an archive: the run, stored. Raises ArchiveError, Known or StoreError, and then nothing of it
    is left."""
    async with store.importing:
        archive = await asyncio.to_thread(Archive, file)
        run = archive.run
        if await store.get(run.id) is not None:
            raise Known(f"there is a run {run.id} already")
        try:
            stage = await asyncio.to_thread(store.stage, run.id)
            try:
                await asyncio.to_thread(archive.unpack, stage)
                await store.adopt(run, stage)
            finally:
                await asyncio.to_thread(discard, stage)
        except FileExistsError:
            raise Known(f"there is a directory of a run {run.id} already") from None
        except OSError as error:
            raise explain(error, store.state) from error
    return run


@contextmanager
def _damage(what: str) -> Iterator[None]:
    """What zipfile and zlib raise when they meet damage, as ArchiveError."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, struct.error) as error:
        raise ArchiveError(f"{what} is damaged: {error or type(error).__name__}") from None


def _packed(path: Path) -> Mapping[str, Any]:
    digest, size = hashlib.sha256(), 0
    for block in _blocks(path):
        digest.update(block)
        size += len(block)
    return {"bytes": size, "sha256": digest.hexdigest()}


def _blocks(path: Path) -> Iterator[bytes]:
    """A file in pieces; of lines, those that are whole: a writer may have been killed within the last."""
    with path.open("rb") as file:
        left = end_of_lines(file.fileno()) if path.suffix == ".jsonl" else path.stat().st_size
        while block := file.read(min(BLOCK, left)):
            left -= len(block)
            yield block


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while line := file.readline(MAX_DOCUMENT):
            if not line.endswith(b"\n"):
                raise ArchiveError(f"{path.name} has a line without an end")
            yield line


def _parsed(path: Path) -> Any:
    if path.stat().st_size > MAX_DOCUMENT:
        raise ArchiveError(f"{path.name} has more than {MAX_DOCUMENT >> 20} MiB")
    return _document(path.name, path.read_bytes())


def _document(name: str, text: bytes) -> Any:
    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is no JSON")

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise ArchiveError(f"{name} is no JSON: {error or 'nested too deep'}") from None
