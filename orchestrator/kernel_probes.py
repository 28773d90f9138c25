"""Questions to this kernel that are answered by doing the thing: each probe does it and undoes it.

A probe returns a short detail for people, or raises OSError saying what the kernel answered. The probes of
`NetworkProbe` run inside a network namespace that ends with the thread that made it: nothing outlives them.
"""

import ctypes
import errno
import fcntl
import mmap
import os
import platform
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

libc = ctypes.CDLL(None, use_errno=True)

CLONE_NEWNET = 0x40000000
SYSCALLS = {
    "x86_64": {"bpf": 321, "userfaultfd": 323, "mseal": 462},
    "aarch64": {"bpf": 280, "userfaultfd": 282, "mseal": 462},
}

# linux/bpf.h
BPF_MAP_CREATE, BPF_PROG_LOAD = 0, 5
BPF_MAP_TYPE_XSKMAP, BPF_PROG_TYPE_SCHED_CLS, BPF_PROG_TYPE_XDP = 17, 3, 6
# `r0 = 2; exit`: XDP_PASS for XDP, and for a classifier simply a number
BPF_PROGRAM = struct.pack("<BBhi", 0xB7, 0, 0, 2) + struct.pack("<BBhi", 0x95, 0, 0, 0)

# linux/if_xdp.h
AF_XDP, SOL_XDP = 44, 283
XDP_RX_RING, XDP_UMEM_REG, XDP_UMEM_FILL_RING, XDP_UMEM_COMPLETION_RING = 2, 4, 5, 6
XDP_COPY, XDP_USE_SG = 1 << 1, 1 << 4
CHUNK_BYTES, CHUNKS = 4096, 16

# linux/userfaultfd.h
O_NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC
UFFD_API = 0xAA
UFFDIO_API = 0xC018AA3F
UFFD_USER_MODE_ONLY = 1
UFFD_FEATURES = {"write protection": 0, "SIGBUS": 7, "minor faults": 10, "protection of shared memory": 12}

INGRESS = 0xFFFF0000
ETH_P_ALL = 3


def failed(attempt: str) -> OSError:
    """The error that the last call of `libc` left behind, with what was attempted."""
    number = ctypes.get_errno()
    return OSError(number, f"{attempt}: {os.strerror(number)}")


@contextmanager
def attempting(attempt: str) -> Iterator[None]:
    """Turns an error of netlink or of a socket into an OSError that says what was attempted."""
    try:
        yield
    except NetlinkError as error:
        absent = error.code in (errno.ENOENT, errno.EOPNOTSUPP)
        reason = "this kernel does not have it" if absent else os.strerror(error.code)
        raise OSError(error.code, f"{attempt}: {reason}") from error
    except OSError as error:
        raise OSError(error.errno, f"{attempt}: {error.strerror}") from error


def system_call(name: str, *arguments: Any) -> int:
    numbers = SYSCALLS.get(platform.machine())
    if numbers is None:
        raise OSError(errno.ENOSYS, f"{name}: its number on {platform.machine()} is not known here")
    result: int = libc.syscall(numbers[name], *arguments)
    if result < 0:
        raise failed(name)
    return result


def load_program(kind: int, what: str) -> int:
    """The descriptor of a loaded BPF program of that kind; the caller closes it."""
    instructions = ctypes.create_string_buffer(BPF_PROGRAM, len(BPF_PROGRAM))
    licence = ctypes.create_string_buffer(b"GPL")
    attributes = ctypes.create_string_buffer(128)
    struct.pack_into(
        "<IIQQ", attributes, 0, kind, 2, ctypes.addressof(instructions), ctypes.addressof(licence)
    )
    with attempting(f"loading a BPF program ({what})"):
        return system_call("bpf", BPF_PROG_LOAD, attributes, len(attributes))


def write_revocation() -> str:
    """What the protection tier `write-revoked` needs: a userfaultfd as core/shield.c makes it, and mseal."""
    descriptor = system_call("userfaultfd", O_NONBLOCK_CLOEXEC | UFFD_USER_MODE_ONLY)
    try:
        api = ctypes.create_string_buffer(struct.pack("<QQQ", UFFD_API, 0, 0), 24)
        if libc.ioctl(descriptor, ctypes.c_ulong(UFFDIO_API), api) < 0:
            raise failed("UFFDIO_API")
        features = struct.unpack("<QQQ", api.raw)[1]
    finally:
        os.close(descriptor)
    for name, bit in UFFD_FEATURES.items():
        if not features >> bit & 1:
            raise OSError(errno.EOPNOTSUPP, f"userfaultfd lacks {name} (Linux 5.19 has all)")
    system_call("mseal", 0, 0, 0)  # of nothing: only whether it is there
    return "userfaultfd protects shared memory, mseal is there"


def write_leases() -> str:
    """What the protection tier `strict` needs: a write lease on a memory file, refused while it is mapped."""
    made = os.memfd_create("probe")
    try:
        os.ftruncate(made, mmap.PAGESIZE)
        kept = os.open(f"/proc/self/fd/{made}", os.O_RDWR | os.O_CLOEXEC)
    finally:
        os.close(made)
    try:
        with attempting("taking a write lease on a memory file"):
            lease(kept)
        other = os.open(f"/proc/self/fd/{kept}", os.O_RDWR | os.O_CLOEXEC)
        with mmap.mmap(other, mmap.PAGESIZE):
            os.close(other)
            try:
                lease(kept)
            except OSError:
                return "a mapping of a memory file keeps others from a lease on it"
        raise OSError(errno.EOPNOTSUPP, "leases on memory files do not see mappings")
    finally:
        os.close(kept)


def lease(descriptor: int) -> None:
    """Takes a write lease and gives it back. Raises OSError if it cannot be had."""
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)


class NetworkProbe:
    """A throw-away network namespace with one veth pair. For a thread of its own: see `open`."""

    ip: IPRoute
    link: int  # index of one end of the pair

    def open(self) -> str:
        """Moves the calling thread into a new network namespace, which ends with the thread."""
        if libc.unshare(CLONE_NEWNET) < 0:
            raise failed("creating a network namespace")
        self.ip = IPRoute()
        try:
            with attempting("creating a veth pair"):
                self.ip.link("add", ifname="probe0", kind="veth", peer={"ifname": "probe1"})
            self.link = self.ip.link_lookup(ifname="probe0")[0]
        except OSError:
            self.close()
            raise
        return "created"

    def close(self) -> None:
        self.ip.close()

    def device(self, kind: str) -> str:
        with attempting(f"creating a device of kind {kind}"):
            self.ip.link("add", ifname=f"probe-{kind}", kind=kind)
        return "created"

    def qdisc(self, kind: str, **parameters: Any) -> str:
        """A root qdisc on the veth, removed again."""
        with attempting(f"creating a qdisc of kind {kind}"):
            self.ip.tc("add", kind, self.link, handle="1:", **parameters)
        self.ip.tc("del", kind, self.link, handle="1:", **parameters)
        return "created"

    def _classifier(self, kind: str, **parameters: Any) -> str:
        self.ip.tc("add", "ingress", self.link, handle=INGRESS)
        try:
            with attempting(f"creating a classifier of kind {kind}"):
                self.ip.tc(
                    "add-filter", kind, self.link, parent=INGRESS, protocol=ETH_P_ALL, prio=1, **parameters
                )
        finally:
            self.ip.tc("del", "ingress", self.link, handle=INGRESS)
        return "created"

    def u32(self) -> str:
        return self._classifier("u32", target=0x10001, keys=["0x0/0x0+0"])

    def mirred(self) -> str:
        redirect = {"kind": "mirred", "direction": "egress", "action": "redirect", "ifindex": self.link}
        return self._classifier("u32", target=0x10001, keys=["0x0/0x0+0"], action=redirect)

    def cls_bpf(self) -> str:
        program = load_program(BPF_PROG_TYPE_SCHED_CLS, "classifier")
        try:
            return self._classifier("bpf", fd=program, name="probe", direct_action=True)
        finally:
            os.close(program)

    def af_xdp(self) -> str:
        """A map for XDP sockets, a generic-mode XDP program on the veth, and a bound socket."""
        attributes = ctypes.create_string_buffer(128)
        struct.pack_into("<IIII", attributes, 0, BPF_MAP_TYPE_XSKMAP, 4, 4, 1)
        with attempting("creating a map for XDP sockets"):
            os.close(system_call("bpf", BPF_MAP_CREATE, attributes, len(attributes)))
        program = load_program(BPF_PROG_TYPE_XDP, "XDP")
        try:
            with attempting("attaching an XDP program to a veth"):
                generic = {"attrs": [("IFLA_XDP_FD", program), ("IFLA_XDP_FLAGS", 1 << 1)]}
                self.ip.link("set", index=self.link, xdp=generic)
        finally:
            os.close(program)
        self._bind_xdp_socket("probe0", XDP_COPY)
        return "socket bound to a veth in copy mode, program attached in generic mode"

    def xdp_multi_buffer(self) -> str:
        # The other end: the kernel lets go of a closed socket's queue only later.
        self._bind_xdp_socket("probe1", XDP_COPY | XDP_USE_SG)
        return "socket bound with XDP_USE_SG"

    def _bind_xdp_socket(self, interface: str, flags: int) -> None:
        index = self.ip.link_lookup(ifname=interface)[0]
        length = CHUNKS * CHUNK_BYTES
        with attempting("creating an AF_XDP socket"):
            xsk = socket.socket(AF_XDP, socket.SOCK_RAW)
        with xsk, mmap.mmap(-1, length) as memory:
            start = ctypes.c_char.from_buffer(memory)
            try:
                with attempting("registering memory for AF_XDP"):
                    registration = struct.pack(
                        "<QQIIII", ctypes.addressof(start), length, CHUNK_BYTES, 0, 0, 0
                    )
                    xsk.setsockopt(SOL_XDP, XDP_UMEM_REG, registration)
                    for ring in (XDP_UMEM_FILL_RING, XDP_UMEM_COMPLETION_RING, XDP_RX_RING):
                        xsk.setsockopt(SOL_XDP, ring, CHUNKS)
                address = struct.pack("<HHIII", AF_XDP, flags, index, 0, 0)
                if libc.bind(xsk.fileno(), address, len(address)) < 0:
                    raise failed("binding an AF_XDP socket")
            finally:
                del start  # the mapping cannot be closed while ctypes points into it
