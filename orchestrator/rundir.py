"""The directory of each run, and what it says of the run itself, so that the index can be made from it again.

`run.json` has the fields of the run's row in the index. It is written first: a row never speaks of what is
not there. A directory comes into being by a rename; what a killed process left half-made begins with a dot.
"""

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from orchestrator.experiments.files import stamped, sync_directory, write_json

RUN_FILE = "run.json"


def create(runs: Path, run_id: str, fields: Mapping[str, Any]) -> None:
    """Makes the directory of a new run, with its run.json. Raises OSError, FileExistsError if it is there."""
    stage = staged(runs, run_id)
    try:
        write(stage, fields)
        publish(stage, runs / run_id)
    except BaseException:
        discard(stage)
        raise


def staged(runs: Path, run_id: str) -> Path:
    """An empty directory to fill and then `publish`. One that was left there is emptied. Raises OSError."""
    runs.mkdir(parents=True, exist_ok=True)
    stage = runs / f".{run_id}"
    discard(stage)
    stage.mkdir()
    return stage


def publish(stage: Path, directory: Path) -> None:
    """Gives a staged directory its name, for good. Raises OSError, FileExistsError if the name is taken."""
    if directory.exists():
        raise FileExistsError(f"{directory} is there already")
    sync_directory(stage)
    stage.rename(directory)
    sync_directory(directory.parent)


def discard(directory: Path) -> None:
    """Removes a directory and all in it, as far as possible."""
    with suppress(FileNotFoundError):
        shutil.rmtree(directory)


def write(directory: Path, fields: Mapping[str, Any]) -> None:
    """Writes the run.json of a directory anew. Raises OSError."""
    write_json(directory / RUN_FILE, stamped(fields))


def read(directory: Path) -> dict[str, Any] | None:
    """What the run.json of a directory says; None where it has none that is whole."""
    try:
        found = json.loads((directory / RUN_FILE).read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def is_new(directory: Path) -> bool:
    """Whether nothing was ever done for a run: it is queued, and its directory has no other file."""
    found = read(directory)
    return found is not None and found.get("state") == "queued" and os.listdir(directory) == [RUN_FILE]


def sweep(runs: Path) -> None:
    """Removes what killed processes left half-made. Raises OSError."""
    for name in os.listdir(runs) if runs.is_dir() else ():
        if name.startswith("."):
            discard(runs / name)


def names(runs: Path) -> list[str]:
    """The names of all runs that have a directory. Raises OSError."""
    if not runs.is_dir():
        return []
    with os.scandir(runs) as entries:
        return [one.name for one in entries if one.is_dir() and not one.name.startswith(".")]
