"""Each I/O system, over each back end, moves datagrams unchanged between real interfaces.

A forwarder runs in one namespace; the kernel's UDP sockets at both far ends of its two links are in another.
So our stack receives from the kernel, sends to the kernel, answers its ARP requests and asks its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pyroute2 import NetNS, netns

from agents.shipping import counters
from agents.workload_params import systems
from tests.support import PATIENCE_S, stop, wait_until

pytestmark = pytest.mark.root

OURS, THEIRS = (f"transship-t{os.getpid()}-{side}" for side in ("ours", "theirs"))
MTU = 7500
SIZES = [0, 1, 17, 28, 1472, 3798, 3799, 4300, 7000]
CLONE_NEWNET = 0x40000000
SO_RCVBUFFORCE = 33
BURST = 100
LIBC = ctypes.CDLL(None, use_errno=True)


def mac(link: int, side: int) -> str:
    return f"02:00:00:0{link}:00:0{side}"


@contextlib.contextmanager
def two_links(mtu: int) -> Iterator[None]:
    """Two links between two namespaces: 10.98.<n>.1 is theirs, 10.98.<n>.2 ours."""
    try:
        with contextlib.ExitStack() as stack:
            ours, theirs = (stack.enter_context(NetNS(name)) for name in (OURS, THEIRS))
            for ns in (ours, theirs):
                ns.link("set", index=ns.link_lookup(ifname="lo")[0], state="up")
            for link in range(2):
                peer = {"ifname": f"eth{link}", "net_ns_fd": THEIRS, "mtu": mtu, "address": mac(link, 1)}
                ours.link("add", ifname=f"eth{link}", kind="veth", mtu=mtu, address=mac(link, 2), peer=peer)
                for side, ns in ((1, theirs), (2, ours)):
                    index = ns.link_lookup(ifname=f"eth{link}")[0]
                    ns.addr("add", index=index, address=f"10.98.{link}.{side}", prefixlen=24)
                    ns.link("set", index=index, state="up")
        yield
    finally:
        for name in (OURS, THEIRS):
            if (Path("/run/netns") / name).exists():
                netns.remove(name)


@pytest.fixture(scope="module")
def links() -> Iterator[None]:
    with two_links(MTU):
        yield


def enter(name: str) -> Callable[[], None]:
    """For a child process before it becomes the program: into that namespace."""
    fd = os.open(f"/run/netns/{name}", os.O_RDONLY | os.O_CLOEXEC)

    def in_child() -> None:
        if LIBC.setns(fd, CLONE_NEWNET) < 0:
            raise OSError(ctypes.get_errno(), "setns")

    return in_child


class Workload:
    """A real workload process in our namespace."""

    def __init__(self, workload: str, system: str, params: dict[str, Any]) -> None:
        self._counters = os.memfd_create("counters")
        os.ftruncate(self._counters, counters.SEGMENT_BYTES)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "agents.workload", "--counters-fd", str(self._counters)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[self._counters],
            preexec_fn=enter(OURS),
            bufsize=0,  # what it has said and we have not read is in the pipe, where select sees it
        )
        self.tell(workload=workload, system=system, params=params)
        event = self.hear()
        assert event == {"event": "ready"}

    def tell(self, **line: Any) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(line).encode() + b"\n")

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout
        assert select.select([self.process.stdout], [], [], PATIENCE_S)[0], "the workload says nothing"
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def counters(self) -> dict[str, int]:
        return counters.read(self._counters)

    def stop(self) -> dict[str, Any]:
        self.tell(command="stop")
        event = self.hear()
        assert event["event"] == "done", event
        assert self.process.wait(PATIENCE_S) == 0
        result: dict[str, Any] = event["result"]
        return result

    def __enter__(self) -> Workload:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        os.close(self._counters)


def kernel_socket(local: str, port: int) -> socket.socket:
    """A UDP socket of the kernel in their namespace."""
    netns.pushns(THEIRS)
    try:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    finally:
        netns.popns()
    made.bind((local, port))
    made.settimeout(PATIENCE_S)
    made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
    return made


@contextlib.contextmanager
def manager(
    backend: str,
    path: Path,
    segmentation: bool = True,
    mtu: int = MTU,
    protection: str = "cooperative",
) -> Iterator[Workload]:
    interfaces = [
        {"name": f"eth{n}", "mac": mac(n, 2), "address": f"10.98.{n}.2", "prefix": 24, "mtu": mtu}
        for n in range(2)
    ]
    params = {"interfaces": interfaces, "socket": str(path), "backend": backend, "queue_datagrams": 256}
    params |= {"segmentation": segmentation, "protection": protection}
    with Workload("manager", "shipping", params) as made:
        yield made


def forwarder(system: str, path: Path, size: int = 9000) -> Workload:
    params = {
        "local": "10.98.0.2:9000",
        "out_local": "10.98.1.2",
        "remote": "10.98.1.1:9000",
        "queue_datagrams": 128,
        "size": size,
        "manager_socket": str(path),
    }
    return Workload("forwarder", system, params)


def check_unchanged(workload: Workload) -> None:
    with kernel_socket("10.98.0.1", 0) as out, kernel_socket("10.98.1.1", 9000) as back:
        for number, size in enumerate(SIZES * 3):
            data = bytes((i * 7 + i // 251 + number) % 256 for i in range(size))
            out.sendto(data, ("10.98.0.2", 9000))
            assert back.recv(65536) == data, f"{size} bytes"
        for _ in range(BURST):  # and in a burst, in order
            out.sendto(b"x" * 4300, ("10.98.0.2", 9000))
        for _ in range(BURST):
            assert back.recv(65536) == b"x" * 4300
    total = len(SIZES) * 3 + BURST
    wait_until(lambda: workload.counters()["datagrams_out"] == total, "the forwarder to count all")
    result = workload.stop()
    assert (result["received"], result["sent"], result["dropped"]) == (total, total, 0)


@pytest.mark.parametrize("system", ["linux", "linux-batch"])
def test_kernel_system_moves_data_unchanged(links: None, tmp_path: Path, system: str) -> None:
    with forwarder(system, tmp_path) as workload:
        check_unchanged(workload)


@pytest.mark.parametrize("system", ["linux", "linux-batch"])
def test_what_is_longer_than_a_forwarder_takes_is_cut_off(links: None, tmp_path: Path, system: str) -> None:
    with forwarder(system, tmp_path, size=1000) as workload:
        with kernel_socket("10.98.0.1", 0) as out, kernel_socket("10.98.1.1", 9000) as back:
            for data in (b"a" * 1000, b"b" * 4300, b"c" * 999):
                out.sendto(data, ("10.98.0.2", 9000))
                assert back.recv(65536) == data[:1000]
        assert workload.stop()["sent"] == 3


CHATTER = {"drop_not_ip", "drop_not_for_us", "drop_xsk_no_page_eth0", "drop_xsk_no_page_eth1"}
"""What is counted where all that was sent has arrived: the kernel's own, perhaps before pages were posted."""
STACKS = [
    (system, backend, "cooperative") for system in ("copy", "shipping") for backend in ("xdp", "packet")
]
PROTECTED = [("copy", backend, tier) for backend in ("xdp", "packet") for tier in ("write-revoked", "strict")]


@pytest.mark.parametrize(("system", "backend", "protection"), STACKS + PROTECTED)
def test_our_stack_moves_data_unchanged(
    links: None, tmp_path: Path, system: str, backend: str, protection: str
) -> None:
    path = tmp_path / "manager"
    with manager(backend, path, protection=protection) as host:
        before = host.counters()
        with forwarder(system, path) as workload:
            check_unchanged(workload)
        wait_until(lambda: host.counters()["containers_owned"] == 0, "all containers to be back")
        after = host.counters()
        states = [name for name in after if name.startswith("containers_")]
        total = sum(after[name] for name in [*states, "pages_following"])
        assert total == sum(before[name] for name in [*states, "pages_following"])
        dropped = {name: n for name, n in after.items() if name.startswith("drop_") and n}
        assert set(dropped) <= CHATTER
        result = host.stop()
        assert (result["backend"], result["protection"]) == (backend, protection)
    assert not path.exists()


@pytest.fixture
def checksums_in_software(links: None) -> Iterator[None]:
    """Whatever leaves us unfinished gets its checksum from the kernel, and the receiver looks at it."""

    def switch(state: str) -> None:
        subprocess.run(["ethtool", "-K", "eth1", "tx", state], preexec_fn=enter(OURS), check=True)

    switch("off")
    yield
    switch("on")


@pytest.mark.parametrize("segmentation", [True, False])
@pytest.mark.parametrize("backend", ["xdp", "packet"])
def test_what_waited_leaves_in_few_messages_and_arrives_as_it_was(
    checksums_in_software: None, tmp_path: Path, backend: str, segmentation: bool
) -> None:
    # runs of one size, shorter and empty ones between; one has more bytes than a UDP datagram can carry
    sizes = [4300] * 70 + [0] + [1000, 1000, 17, 4300] + [7000] * 9 + [28] + [1] * 12
    datagrams = [bytes((i + number) % 256 for i in range(size)) for number, size in enumerate(sizes)]
    path = tmp_path / "manager"
    with manager(backend, path, segmentation) as host, forwarder("shipping", path) as workload:
        with kernel_socket("10.98.0.1", 0) as out, kernel_socket("10.98.1.1", 9000) as back:
            out.sendto(b"first", ("10.98.0.2", 9000))  # until the sink's address is known, all wait
            assert back.recv(65536) == b"first"
            stop(host.process.pid)
            for data in datagrams:
                out.sendto(data, ("10.98.0.2", 9000))
            host.process.send_signal(signal.SIGCONT)
            for number, data in enumerate(datagrams):
                assert back.recv(65536) == data, f"datagram {number}"
        assert workload.stop()["sent"] == 1 + len(datagrams)
        assert (host.counters()["segmented_eth1"] > len(datagrams) / 2) == segmentation
        assert host.stop()["segmentation"] == segmentation


def test_every_system_of_the_table_is_tested_here() -> None:
    assert systems() == ["linux", "linux-batch", "copy", "shipping"]
