"""One machine agent per run root, and one listener per socket."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path


class Refused(Exception):
    """This machine agent may not start; the message says why, and who is there already."""


@contextlib.contextmanager
def sole_agent(run_root: Path) -> Iterator[None]:
    """Holds the run root, made if it is not there (mode 0700). Raises `Refused` naming its holder.

    The kernel gives the lock back however the holder ends; the file stays.
    """
    path = run_root / "machine.lock"
    try:
        run_root.mkdir(mode=0o700, parents=True, exist_ok=True)
        run_root.chmod(0o700)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        hint = "" if os.geteuid() == 0 else "; a machine agent needs root"
        raise Refused(f"cannot use the run directory {run_root}: {error.strerror}{hint}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
            raise Refused(
                f"a machine agent (pid {holder or 'unknown'}) already looks after {run_root}; "
                "there is one for each run directory"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def free_socket(path: Path) -> None:
    """Removes a socket that nobody listens on any more. Raises `Refused` when it is in use, or no socket."""
    if not path.is_socket():
        if path.exists():
            raise Refused(f"{path} is in the way: it is not a socket")
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except OSError as error:
            raise Refused(f"cannot use the socket {path}: {error.strerror}") from error
    raise Refused(f"somebody else listens on {path} already")
