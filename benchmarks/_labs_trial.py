"""One trial of `bench labs` in a process of its own: a chain of shaped links is made, proven, and removed.

`python -m benchmarks._labs_trial mininet|transship HOSTS` prints {"up", "down", "settled"} in seconds,
imports not counted for either, and {"memory", "memory left"} in MB: what the machine has less available while
the lab stands, whoever holds it (kernel, shells, this process), and once it is gone.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks._apart import die_with_the_benchmark
from topologies.builder.kernel import enter_network_namespace, new_network_namespace
from topologies.builder.netns import NETNS_DIR, in_thread

RATE_MBPS = 10
_PROOF_SECONDS = 30.0
_SETTLED_SECONDS = 0.02
_SETTLE_LIMIT_SECONDS = 120.0


def mininet(hosts: int) -> dict[str, float]:
    """Mininet's `linear,HOSTS` with TCLink bw=10 over Linux bridges, timed through its own API."""
    # In a namespace of its own: Mininet puts its switches into the machine's and raises the machine's limits.
    new_network_namespace()
    from mininet.link import TCLink
    from mininet.net import Mininet
    from mininet.topo import LinearTopo

    topo = LinearTopo(k=hosts, lopts={"bw": RATE_MBPS})
    memory = Memory()
    start = time.perf_counter()
    network = Mininet(topo=topo, switch=bridge_class(), link=TCLink, controller=None)
    try:
        network.start()
        up = time.perf_counter() - start
        first, last = network.hosts[0], network.hosts[-1]
        prove(f"/proc/{first.pid}/ns/net", f"/proc/{last.pid}/ns/net", last.IP())
        standing = memory.taken()
    finally:
        start = time.perf_counter()
        network.stop()
        down = time.perf_counter() - start
    return {"up": up, "down": down, "memory": standing, "settled": settle(), "memory left": memory.taken()}


def transship(hosts: int) -> dict[str, float]:
    """The same chain made by Transship's builder from the same Mininet class, links of 10 Mb/s both ways."""
    from topologies.builder import deploy, destroy
    from topologies.mininet_adapter import load_topo

    topology = load_topo(f"linear,{hosts},bw={RATE_MBPS}")
    lab = f"bench-{os.getpid()}"
    run_root = Path(tempfile.mkdtemp(prefix="transship-bench-"))
    memory = Memory()
    try:
        start = time.perf_counter()
        record = deploy(lab, topology, run_root)
        up = time.perf_counter() - start
        first, *_, last = record.hosts.values()
        address = str(last.interfaces[0].address)
        prove(str(NETNS_DIR / first.namespace), str(NETNS_DIR / last.namespace), address)
        standing = memory.taken()
    finally:
        start = time.perf_counter()
        destroy(lab, run_root)
        down = time.perf_counter() - start
        shutil.rmtree(run_root)
    return {"up": up, "down": down, "memory": standing, "settled": settle(), "memory left": memory.taken()}


class Memory:
    """How much less memory the machine has available than when this was made."""

    def __init__(self) -> None:
        self._before = _available_mb()

    def taken(self) -> float:
        """Megabytes; below zero where others gave back more meanwhile."""
        return self._before - _available_mb()


def _available_mb() -> float:
    with open("/proc/meminfo") as lines:
        kilobytes = next(line.split()[1] for line in lines if line.startswith("MemAvailable"))
    return int(kilobytes) * 1024 / 1e6


def bridge_class() -> Any:
    """Mininet's LinuxBridge, or, without bridge-utils, the same with `ip link` in place of `brctl`."""
    from mininet.node import Switch
    from mininet.nodelib import LinuxBridge

    if shutil.which("brctl"):
        return LinuxBridge

    class IpBridge(LinuxBridge):  # type: ignore[misc]
        """One command for each that LinuxBridge gives to brctl."""

        def start(self, _controllers: Any) -> None:
            self.cmd("ip link add", self, "type bridge")
            for interface in self.intfList():
                if self.name in interface.name:
                    self.cmd("ip link set", interface, "master", self)
            self.cmd("ifconfig", self, "up")

        def stop(self, deleteIntfs: bool = True) -> None:
            self.cmd("ifconfig", self, "down")
            self.cmd("ip link del", self)
            Switch.stop(self, deleteIntfs)

        @classmethod
        def setup(cls) -> None:
            """Nothing to check: `ip` is Mininet's own need."""

    return IpBridge


def prove(first: str, last: str, address: str) -> None:
    """A datagram from the first host reaches the last one, over every link between them.

    Raises:
        RuntimeError: it does not within 30 s.
    """
    receiver, sender = _socket(last), _socket(first)
    with receiver, sender:
        receiver.bind((address, 9))
        receiver.settimeout(0.2)
        deadline = time.monotonic() + _PROOF_SECONDS
        while time.monotonic() < deadline:
            sender.sendto(b"proof", (address, 9))
            try:
                receiver.recv(16)
                return
            except TimeoutError:
                continue
    raise RuntimeError(f"no datagram reached {address}: the lab does not work")


def _socket(namespace: str) -> socket.socket:
    def make() -> socket.socket:
        descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            enter_network_namespace(descriptor, namespace)
        finally:
            os.close(descriptor)
        return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    return in_thread(make)


def settle() -> float:
    """Seconds until the kernel has dismantled in the background what was removed, so that nobody else pays.

    A new namespace has to wait for the dismantling under way: it is done when two in a row are had at once.
    """
    start = time.perf_counter()
    quick = 0
    while quick < 2 and time.perf_counter() - start < _SETTLE_LIMIT_SECONDS:
        moment = time.perf_counter()
        in_thread(new_network_namespace)
        quick = quick + 1 if time.perf_counter() - moment < _SETTLED_SECONDS else 0
        time.sleep(_SETTLED_SECONDS)
    return time.perf_counter() - start


SYSTEMS: dict[str, Callable[[int], dict[str, float]]] = {"mininet": mininet, "transship": transship}

if __name__ == "__main__":
    die_with_the_benchmark()
    print(json.dumps(SYSTEMS[sys.argv[1]](int(sys.argv[2]))))
