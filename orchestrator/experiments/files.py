"""Files of a run's directory: whole or not at all, and on the disk before anyone is told.

A new file becomes visible by a rename, after its bytes are on the disk; the rename is on the disk when the
call returns. A line is appended in one piece: what a killed or failed writer left of its last one is cut off
before the next is added, so that a line which was acknowledged stays whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import BaseModel

FORMAT = 2
"""Of the files in a run's directory, docs/results.md has what each number means. Files without a number are
format 1."""
PARTIAL = ".partial"
"""Ends the name of a file that is still being written."""
TAIL_BYTES = 1 << 16


def stamped(value: BaseModel | Mapping[str, Any]) -> dict[str, Any]:
    """The value as JSON with the number of its format."""
    fields = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    return {"format": FORMAT, **fields}


def write_json(path: Path, value: BaseModel | Mapping[str, Any]) -> None:
    """Writes a JSON file atomically. Raises OSError."""
    text = value.model_dump_json(indent=1) if isinstance(value, BaseModel) else json.dumps(value, indent=1)
    with replacing(path) as file:
        file.write(text.encode() + b"\n")


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that becomes `path` when the block ends well, and nothing when it does not. Raises OSError."""
    partial = path.with_name(path.name + PARTIAL)
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise
    sync_directory(path.parent)


def append_line(path: Path, value: BaseModel | Mapping[str, Any]) -> None:
    """Adds one line of JSON to a file and waits until it is on the disk. Raises OSError, and then the line is
    not there."""
    text = value.model_dump_json() if isinstance(value, BaseModel) else json.dumps(value)
    new = not path.exists()
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        end = end_of_lines(handle)
        os.ftruncate(handle, end)
        try:
            _write_at(handle, text.encode() + b"\n", end)
            os.fsync(handle)
        except OSError:
            # Half a line would be the beginning of whatever is added next.
            with suppress(OSError):
                os.ftruncate(handle, end)
            raise
    finally:
        os.close(handle)
    if new:
        sync_directory(path.parent)


def whole_lines(path: Path) -> bytes:
    """The lines of a file up to the last that is whole; b"" where there is no file. Raises OSError."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return b""
    return content[: content.rfind(b"\n") + 1]


def sync_directory(path: Path) -> None:
    """Waits until the names in a directory are on the disk. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_at(handle: int, content: bytes, place: int) -> None:
    """All of `content`: a disk that fills up takes a part of it first."""
    view = memoryview(content)
    while view:
        written = os.pwrite(handle, view, place)
        place += written
        view = view[written:]


def end_of_lines(handle: int) -> int:
    """Where the last whole line of an open file ends."""
    place = os.fstat(handle).st_size
    while place > 0:
        begin = max(0, place - TAIL_BYTES)
        found = os.pread(handle, place - begin, begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        place = begin
    return 0
