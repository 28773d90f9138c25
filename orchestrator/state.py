"""The state directory: where results live, and the lock that lets only one orchestrator write there."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DEFAULT_STATE = "/var/lib/transship"
DEFAULT_RUN_ROOT = "/run/transship"
DEFAULT_LISTEN = "127.0.0.1:8351"


class StateError(Exception):
    """The state directory cannot be used; the message says which directory and why."""


def state_directory(given: str | os.PathLike[str] | None = None) -> Path:
    """The directory given, else `$TRANSSHIP_STATE`, else /var/lib/transship; absolute, not created."""
    return Path(given or os.environ.get("TRANSSHIP_STATE") or DEFAULT_STATE).absolute()


def run_root() -> Path:
    """`$TRANSSHIP_RUN`, else /run/transship: sockets, and the records of labs while they live."""
    return Path(os.environ.get("TRANSSHIP_RUN") or DEFAULT_RUN_ROOT).absolute()


@contextmanager
def owned(state: Path, address: str) -> Iterator[None]:
    """Create `state` if needed and hold it for this process, which serves at `address`.

    Raises StateError naming the other process when one holds it. The lock is the kernel's: it ends
    with the process, however that dies.
    """
    try:
        (state / "runs").mkdir(parents=True, exist_ok=True)
        handle = os.open(state / "orchestrator.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StateError(f"cannot use the state directory {state}: {error.strerror}") from error
    with os.fdopen(handle, "r+") as lock:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = lock.read(200).strip() or "unknown"
            raise StateError(
                f"the state directory {state} is in use by another orchestrator ({holder}); "
                "use that one, stop it, or name another directory with --state"
            ) from None
        try:
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"pid {os.getpid()}, at {address}\n".encode(), 0)
        except OSError as error:
            raise StateError(f"cannot write in the state directory {state}: {error.strerror}") from error
        yield
