"""Files of a run's directory: whole or not at all, and on the disk before anyone is told."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel


def write_json(path: Path, value: BaseModel | dict[str, Any]) -> None:
    """Writes a JSON file atomically. Raises OSError."""
    text = value.model_dump_json(indent=1) if isinstance(value, BaseModel) else json.dumps(value, indent=1)
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def whole_lines(path: Path) -> list[bytes]:
    """The lines of a file, none if there is no file. One that a crash left unfinished is cut off, so that
    the next one can follow. Raises OSError."""
    if not path.exists():
        return []
    content = path.read_bytes()
    end = content.rfind(b"\n") + 1
    if end < len(content):
        os.truncate(path, end)
    return content[:end].splitlines()


def append_line(path: Path, value: BaseModel) -> None:
    """Adds one line of JSON to a file and waits until it is on the disk. Raises OSError."""
    with path.open("a", encoding="utf-8") as file:
        file.write(value.model_dump_json() + "\n")
        file.flush()
        os.fsync(file.fileno())
