"""Ways to watch a lab while an experiment uses it: one more is a row in `WATCHES`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.connection import Connection, Refused

NONE = "none"
INSPECT_PER_SECOND = 1000.0
_STOP_S = 30.0


@dataclass(frozen=True)
class Load:
    """What is asked for, and how often in a second; 0: one path, a stream."""

    per_second: float
    paths: tuple[str, ...]


@dataclass
class Watched:
    """What a watcher found: see benchmarks/watching/load.py."""

    found: dict[str, Any] = field(default_factory=dict)


def _inspect(_: Connection, lab: str) -> Load:
    """A lab and one of its hosts."""
    return Load(INSPECT_PER_SECOND, (f"/api/v1/labs/{lab}", f"/api/v1/labs/{lab}/hosts/middle"))


def _scrape(server: Connection, lab: str) -> Load:
    """The metrics of every host each second, as Prometheus finds them."""
    targets = json.loads(server.request("GET", "/discovery/prometheus"))
    paths = tuple(one["labels"]["__metrics_path__"] for one in targets if one["labels"]["lab"] == lab)
    return Load(float(len(paths)), paths)


def _live(server: Connection, lab: str) -> Load:
    """The live feed, as an open page reads it. Raises Refused where there is none."""
    path = f"/api/v1/labs/{lab}/live?every_s=0.5"
    stream = server.stream(path)
    next(stream)
    stream.close()
    return Load(0, (path,))


WATCHES: dict[str, Callable[[Connection, str], Load] | None] = {
    NONE: None,
    "inspect": _inspect,
    "scrape": _scrape,
    "live": _live,
}


def there_is(server: Connection, lab: str, watch: str) -> bool:
    """Whether this orchestrator can be watched so."""
    make = WATCHES[watch]
    try:
        return make is None or bool(make(server, lab).paths)
    except Refused as refused:
        if refused.status != 404:
            raise
        return False


@contextmanager
def watching(server: Connection, socket: Path, lab: str, watch: str, cpus: set[int]) -> Iterator[Watched]:
    """Watches from there to the end of the context, on these CPUs.

    Raises:
        RuntimeError: the watcher failed.
    """
    watched = Watched()
    make = WATCHES[watch]
    if make is None:
        yield watched
        return
    load = make(server, lab)
    command = [
        sys.executable,
        "-m",
        "benchmarks.watching.load",
        str(socket),
        str(load.per_second),
        *load.paths,
    ]
    process = subprocess.Popen(
        command,
        cwd=Path(__file__).resolve().parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        os.sched_setaffinity(process.pid, cpus)
        yield watched
        said, _ = process.communicate(timeout=_STOP_S)
        if process.returncode != 0:
            raise RuntimeError(f"the watcher {watch} ended with exit status {process.returncode}")
        watched.found = json.loads(said)
    finally:
        process.kill()
        process.communicate()
