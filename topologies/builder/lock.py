"""Who may change a lab: an exclusive flock on its directory, and names claimed once among all labs."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from topologies.builder.errors import LabBusy, LabExists
from topologies.record import RECORD_FILE

_POLL_SECONDS = 0.02


@contextlib.contextmanager
def locked(lab: str, run_root: Path, *, create: bool, wait_seconds: float = 0.0) -> Iterator[Path | None]:
    """Hold the lab's directory, alone, and yield it; None when it does not exist and `create` is false.

    The kernel drops the lock when the process dies, however it dies.

    Raises:
        LabBusy: somebody else held it for longer than `wait_seconds`.
    """
    directory = run_root / lab
    deadline = time.monotonic() + wait_seconds
    while True:
        if create:
            run_root.mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                directory.mkdir(mode=0o700)
        try:
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            if create:
                continue  # a destroy removed it in between
            yield None
            return
        try:
            if _take(descriptor) and _is_still(directory, descriptor):
                yield directory
                return
        finally:
            os.close(descriptor)
        if time.monotonic() > deadline:
            raise LabBusy(f"lab {lab!r} is being deployed, changed or destroyed by someone else")
        time.sleep(_POLL_SECONDS)


@contextlib.contextmanager
def claims(run_root: Path) -> Iterator[None]:
    """Hold every lab's claims still while one more is checked and written; a few milliseconds."""
    descriptor = os.open(run_root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def refuse_taken(names: list[str], lab: str, run_root: Path) -> None:
    """Refuse namespace names that another lab's record already claims.

    Lab `a` with host `b-c` and lab `a-b` with host `c` would share a name, and one would destroy the other's.

    Raises:
        LabExists: naming the name and the lab that has it.
    """
    wanted = set(names)
    for path in run_root.glob(f"*/{RECORD_FILE}"):
        if path.parent.name == lab:
            continue
        try:
            other = json.loads(path.read_bytes())
            claimed = {other["namespace"], *(host["namespace"] for host in other["hosts"].values())}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # being removed, or not a record: whoever owns it says so when it is used
        if taken := wanted & claimed:
            raise LabExists(f"namespace {min(taken)} already belongs to lab {path.parent.name!r}")


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_still(directory: Path, descriptor: int) -> bool:
    # The one who held it before may have removed it: a lock on a removed directory locks nothing.
    try:
        return os.path.samestat(os.stat(directory, follow_symlinks=False), os.fstat(descriptor))
    except FileNotFoundError:
        return False
