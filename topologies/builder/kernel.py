"""System calls that Python 3.11 lacks: namespaces, mounts, and a sysfs of another network namespace.

Every error says what was attempted on what. The calls act on the calling thread only.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

CLONE_NEWNET = 0x40000000
MS_BIND = 0x1000
MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8

_SYS_FSOPEN, _SYS_FSCONFIG, _SYS_FSMOUNT = 430, 431, 432  # the same number on every architecture
_FSCONFIG_CMD_CREATE = 6
_CLOEXEC = 1  # FSOPEN_CLOEXEC and FSMOUNT_CLOEXEC

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def _check(result: int, attempted: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{attempted}: {os.strerror(number)}")
    return result


def new_network_namespace() -> None:
    """Put the calling thread into a network namespace of its own."""
    _check(_libc.unshare(CLONE_NEWNET), "making a network namespace")


def enter_network_namespace(descriptor: int, name: str) -> None:
    """Put the calling thread into the network namespace behind `descriptor`."""
    _check(_libc.setns(descriptor, CLONE_NEWNET), f"entering network namespace {name}")


def bind_mount(source: str, target: Path) -> None:
    """Make the file `target` stand for `source`, and so keep a namespace alive."""
    result = _libc.mount(source.encode(), os.fsencode(target), None, ctypes.c_ulong(MS_BIND), None)
    _check(result, f"mounting {source} on {target}")


def unmount(target: Path) -> None:
    """Take the mount off the file `target`, at once even if it is in use."""
    result = _libc.umount2(os.fsencode(target), MNT_DETACH | UMOUNT_NOFOLLOW)
    _check(result, f"unmounting {target}")


def sysfs_of_thread() -> int:
    """A descriptor of a sysfs that shows the calling thread's network namespace; close it to be rid of it.

    The mount is never attached to a directory, so nothing of it can be left behind.
    """
    attempted = "mounting sysfs of a network namespace"
    context = _check(_libc.syscall(_SYS_FSOPEN, b"sysfs", _CLOEXEC), attempted)
    try:
        _check(_libc.syscall(_SYS_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0), attempted)
        return _check(_libc.syscall(_SYS_FSMOUNT, context, _CLOEXEC, 0), attempted)
    finally:
        os.close(context)
