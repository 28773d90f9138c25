"""Network namespaces by name: bind mounts under /run/netns, made and entered by short-lived threads."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from topologies.builder.kernel import (
    bind_mount,
    enter_network_namespace,
    new_network_namespace,
    unmount,
)

NETNS_DIR = Path("/run/netns")

T = TypeVar("T")

_SYSCTLS = {
    # The experiment's hosts speak IPv4; neighbour discovery would be traffic nobody asked for.
    "ipv6/conf/all/disable_ipv6": "1",
    "ipv6/conf/default/disable_ipv6": "1",
    # Forwarding is a workload's job. A new namespace copies these from the machine, where Docker sets them.
    "ipv4/ip_forward": "0",
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/default/rp_filter": "0",
    # A machine's firewall must not see the frames of a lab's bridges.
    "bridge/bridge-nf-call-arptables": "0",
    "bridge/bridge-nf-call-ip6tables": "0",
    "bridge/bridge-nf-call-iptables": "0",
}


def in_thread(work: Callable[[], T]) -> T:
    """Run `work` in a thread that may change its network namespace, because the thread ends with it."""
    outcome: list[T] = []
    failure: list[BaseException] = []
    begin = threading.Event()
    abandoned = False

    def run() -> None:
        begin.wait()
        if abandoned:
            return
        try:
            outcome.append(work())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run, name="transship-netns")
    try:
        thread.start()
    except BaseException:  # Ctrl-C: it may have been started, and may be about to be
        abandoned = True
        begin.set()
        raise
    interrupted: BaseException | None = None
    while thread.is_alive():
        try:
            begin.set()
            thread.join()
        except BaseException as error:
            # Ctrl-C reaches this thread only. Cleaning up while the other one still builds would miss things.
            interrupted = error
    if interrupted or failure:
        raise interrupted or failure[0]
    return outcome[0]


def create_namespace(name: str) -> None:
    """Make a namespace called `name` and leave the calling thread in it.

    Raises:
        FileExistsError: something has that name already; it is not touched.
        OSError: the kernel refused; nothing is left behind.
    """
    path = NETNS_DIR / name
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444))
    try:
        new_network_namespace()
        bind_mount("/proc/thread-self/ns/net", path)
    except BaseException:
        path.unlink()
        raise
    for file, value in _SYSCTLS.items():
        _set(f"/proc/sys/net/{file}", value)


def settle_neighbours(interfaces: list[str]) -> None:
    """Make ARP in the calling thread's namespace lose nothing, and seldom speak (arp(7)).

    What waits for a reply is kept, as much as a sender may have on its way: by default the kernel keeps
    208 KiB and drops the rest, counted only for the machine as a whole. And an address once heard holds for
    an hour: a request in the middle of a trial, dropped with the datagrams around it, would be counted as
    one.
    """
    for name in interfaces:
        _set(f"/proc/sys/net/ipv4/neigh/{name}/unres_qlen_bytes", str(32 << 20))
        _set(f"/proc/sys/net/ipv4/neigh/{name}/base_reachable_time_ms", str(3_600_000))


def enter_namespace(name: str) -> None:
    """Put the calling thread, which must be one of `in_thread`, into the namespace called `name`."""
    descriptor = os.open(NETNS_DIR / name, os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter_network_namespace(descriptor, name)
    finally:
        os.close(descriptor)


def delete_namespace(name: str) -> None:
    """Take the name away; the kernel dismantles the rest in the background. No error when gone."""
    path = NETNS_DIR / name
    try:
        unmount(path)
    except OSError as error:
        # EINVAL: a file that was made but never mounted on, left by a deploy that was killed.
        if error.errno not in (errno.EINVAL, errno.ENOENT):
            raise
    with contextlib.suppress(FileNotFoundError):
        path.unlink()


def _set(path: str, value: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # no IPv6 or no bridge netfilter in this kernel: nothing to turn off
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)
