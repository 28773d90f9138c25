"""Calls into the C library as Python wants them: one thread at a time, failures as exceptions."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from typing import Any

_in_library = threading.Lock()
_acquire, leave = _in_library.acquire, _in_library.release

_REASONS = {
    errno.EPERM: "a container that is not this process's",
    errno.EBADF: "it is closed, or not open for that",
    errno.EAGAIN: "it would have to wait",
    errno.ETIMEDOUT: "the time-out has passed",
    errno.EPIPE: "the manager has gone, or does not serve this process",
    errno.EPROTO: "the manager and this process do not understand each other",
    errno.ENOTCONN: "not attached to a manager",
    errno.EISCONN: "this process is attached already",
    errno.ENOBUFS: "the pool has no free pages for it",
    errno.EDESTADDRREQ: "it was opened without a remote address",
    errno.EADDRNOTAVAIL: "no interface of this host has the local address",
    errno.EADDRINUSE: "the local port is taken",
    errno.ENETUNREACH: "the remote address is not on the interface's network",
    errno.ENOSPC: "no space left: a full disk, or a host that has as many of that kind as it can",
    errno.EOPNOTSUPP: "a device of that kind cannot do that",
    errno.EMFILE: "too many endpoints are open",
}


class OwnershipError(PermissionError):
    """A container was used that this process does not own: it has been given away or freed, or the process
    has detached. `errno` is EPERM."""


def failure(code: int, attempt: str) -> OSError:
    """The exception for an errno value: the subclass of OSError that Python has for it, or OwnershipError."""
    message = f"{attempt}: {_REASONS.get(code) or os.strerror(code)}"
    return OwnershipError(code, message) if code == errno.EPERM else OSError(code, message)


def call(function: Callable[..., Any], *arguments: object) -> int:
    """What the C function returns. The interpreter's lock is released meanwhile, so other threads run.

    The library is used from one thread at a time (include/cs.h): a call while another thread is in one
    raises RuntimeError, where waiting for it could be for ever.
    """
    enter()
    try:
        return function(*arguments)  # type: ignore[no-any-return]
    finally:
        leave()


def enter() -> None:
    """Before a call, and `leave` after it: where the cost of `call` shows, or where what the C function fills
    has to be looked at before another thread's call. Raises RuntimeError."""
    if not _acquire(False):
        raise RuntimeError("another thread is in a call of the library, which is used by one at a time")
