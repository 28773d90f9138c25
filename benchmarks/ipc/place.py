"""The names that a trial of `bench ipc` may use in the file system, and how they go again."""

from __future__ import annotations

import os
import secrets
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SWEEP = 'read -r _; rm -rf -- "$1"; rm -f -- "$2"*'
"""For sh: at the end of its standard input, remove folder $1 and the files whose names begin with $2."""


def shared_memory_prefix(place: str) -> str:
    """How the names of all that iceoryx2 has in /dev/shm for this trial begin."""
    return f"{Path(place).parent.name}-"


@contextmanager
def swept_place() -> Iterator[tuple[str, int]]:
    """A path in a folder of its own, and a descriptor that every process of the trial must inherit.

    When the last of them and we have ended or closed it, however that came about, a process that does nothing
    else removes the folder and what is in /dev/shm under this trial's names: iceoryx2 leaves it there when it
    is killed, and a benchmark that is killed itself can remove nothing.
    """
    place = Path(tempfile.gettempdir()) / f"transship-ipc-{secrets.token_hex(4)}" / "place"
    names = (str(place.parent), f"/dev/shm/{shared_memory_prefix(str(place))}")
    seen, held = os.pipe()
    # A session of its own: what a terminal or a group is sent is not for it.
    with subprocess.Popen(["sh", "-c", SWEEP, "sh", *names], stdin=seen, start_new_session=True):
        os.close(seen)
        try:
            place.parent.mkdir(mode=0o700)
            yield str(place), held
        finally:
            os.close(held)
