"""One machine agent per run root, and one listener per socket."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ENDING = " is ending"
"""What the lock says beside the process id of a holder that destroys its labs and ends."""
ENDING_S = 45.0
"""Seconds allowed for that: host agents that hang are waited for before they are killed."""
NOTICE_S = 2.0
"""Seconds allowed to an agent to notice that whoever started it has died, and to say that it ends."""
POLL_S = 0.05


class Refused(Exception):
    """This machine agent may not start; the message says why, and who is there already."""


@contextlib.contextmanager
def sole_agent(run_root: Path) -> Iterator[Callable[[], None]]:
    """Holds the run root, made if it is not there (mode 0700). Yields what tells others that this one is
    ending. Raises `Refused` naming the holder; one that is ending is waited for.

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

    def tell(what: str) -> None:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}{what}\n".encode(), 0)

    try:
        _lock(descriptor, run_root)
        tell("")

        def tell_ending() -> None:
            with contextlib.suppress(OSError):  # a full disk; then the next one is refused for a while
                tell(ENDING)

        yield tell_ending
    finally:
        os.close(descriptor)


def _lock(descriptor: int, run_root: Path) -> None:
    began = time.monotonic()
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            said = os.pread(descriptor, 40, 0).decode(errors="replace").strip()
        holder = said.removesuffix(ENDING)
        if time.monotonic() - began > (ENDING_S if holder != said else NOTICE_S):
            raise Refused(
                f"a machine agent (pid {holder or 'unknown'}) already looks after {run_root}; "
                "there is one for each run directory"
            )
        time.sleep(POLL_S)


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
