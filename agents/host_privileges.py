"""What a host agent gives up when it starts: the machine's network, and most of root's capabilities."""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Collection
from pathlib import Path

CLONE_NEWNET, CLONE_NEWUTS = 0x40000000, 0x04000000
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION_3 = 0x20080522

KEPT = {
    "DAC_READ_SEARCH": 2,  # the clone may lie in a directory of another user than root
    "NET_BIND_SERVICE": 10,  # a workload may use a port below 1024
    "NET_ADMIN": 12,  # AF_XDP sockets and attaching their program to the host's interfaces
    "NET_RAW": 13,  # AF_PACKET sockets; ping
    "IPC_LOCK": 14,  # the pool and AF_XDP's rings are locked memory
    "PERFMON": 38,  # with BPF: what the verifier asks of a program that reads packet memory
    "BPF": 39,  # loading the AF_XDP program
}
"""The capabilities, of linux/capability.h, that a host agent and all its children keep, and why."""

_libc = ctypes.CDLL(None, use_errno=True)


def enter_network(namespace: Path) -> None:
    """Moves this (single-threaded) process into the network namespace. Raises `OSError`."""
    descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(descriptor, CLONE_NEWNET) != 0:
            raise _error(f"cannot enter the network namespace {namespace}")
    finally:
        os.close(descriptor)


def name_machine(name: str) -> None:
    """Gives the machine a name that this process and its children alone see. Raises `OSError`."""
    if _libc.unshare(CLONE_NEWUTS) != 0:
        raise _error("cannot have a name of its own for the host")
    socket.sethostname(name)


def drop_capabilities(keep: Collection[int] = tuple(KEPT.values())) -> None:
    """Keeps of this process's capabilities only these; programs it starts cannot get others back."""
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    for capability in range(last + 1):
        # Root regains at each exec what this bounding set still has: dropping from it is what lasts.
        if capability not in keep and _libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            raise _error(f"cannot drop capability {capability}")
    permitted = _permitted()
    kept = sum(1 << bit for bit in keep) & permitted
    words = (kept & 0xFFFFFFFF, kept >> 32)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)(words[0], words[0], 0, words[1], words[1], 0)
    if _libc.capset(header, data) != 0:
        raise _error("cannot reduce the capabilities")
    if _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise _error("cannot renounce new privileges")


def _permitted() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapPrm:"):
            return int(line.split()[1], 16)
    return 0


def _error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")
