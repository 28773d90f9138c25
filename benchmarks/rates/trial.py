"""One trial of `bench rates` in a process of its own: two hosts on a network, more offered than its rate.

`python -m benchmarks.rates.trial SYSTEM RATE MTU SECONDS`, RATE in Mb/s, 0 for a network that is not shaped,
prints {"mbps", "reason"}: what arrives of Ethernet frames in 10^6 bits per second, and why that says nothing
of the shaper, or null.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.host_workloads import Workload
from benchmarks._apart import die_with_the_benchmark
from benchmarks._labs_trial import bridge_class
from benchmarks.rates.systems import HEADERS, MININET, SHARED
from topologies.builder.kernel import enter_network_namespace, new_network_namespace
from topologies.builder.netns import NETNS_DIR, in_thread
from topologies.builder.state import namespace_counters

OFFERED = 1.5
"""Times the rate: what is offered."""
UNSHAPED_MBPS = 20_000.0
"""Offered where nothing is shaped: more than there is."""
FRAME_HEADER = 14
WARMUP_S, UNSHAPED_WARMUP_S = 0.5, 0.1
"""The first is more than buckets that were full take to be emptied: at 1 Mb/s Mininet's takes 0.3 s."""
SILENCE_S = 0.5
"""When nothing has arrived for so long, all that will has; frames at 1 Mb/s are 12 ms apart."""
LOOK_S = 0.05
EMPTY, REFUSED = 0.02, 0.0005
"""Up to this part of the looks at a shaper may find nothing that waits (one look of 3 s), and up to this part
of what arrives may find no room at the sink."""
PORT, SYSTEM, FLOW = 9000, "linux-batch", 1
SINK_QUEUE = 8192


@dataclass(frozen=True)
class Place:
    """A network with two hosts on it: their namespaces and addresses, and the namespace with the shaper that
    the first one's frames meet first."""

    left: str
    right: str
    left_address: str
    right_address: str
    shaper: str


@contextmanager
def transship(medium: str, rate_mbps: float | None, mtu: int) -> Iterator[Place]:
    """Transship's network."""
    from topologies.builder import deploy, destroy
    from topologies.model import Topology

    network = {"medium": medium, "rate_mbps": rate_mbps, "mtu": mtu, "stations": ["left", "right"]}
    topology = Topology.model_validate(
        {"name": "rates", "hosts": {"left": {}, "right": {}}, "networks": {"wire": network}}
    )
    lab = f"bench-{os.getpid()}"
    run_root = Path(tempfile.mkdtemp(prefix="transship-bench-"))
    try:
        record = deploy(lab, topology, run_root)
        left, right = record.hosts["left"], record.hosts["right"]
        yield Place(
            str(NETNS_DIR / left.namespace),
            str(NETNS_DIR / right.namespace),
            str(left.interfaces[0].address),
            str(right.interfaces[0].address),
            str(NETNS_DIR / record.namespace),
        )
    finally:
        destroy(lab, run_root)
        shutil.rmtree(run_root)


@contextmanager
def mininet(rate_mbps: float | None) -> Iterator[Place]:
    """Mininet's network: two hosts at a Linux bridge, TCLink with a bandwidth at both."""
    new_network_namespace()  # Mininet puts its switches into the machine's
    from mininet.link import TCLink
    from mininet.net import Mininet
    from mininet.topo import SingleSwitchTopo

    topo = SingleSwitchTopo(k=2, lopts={"bw": rate_mbps} if rate_mbps else {})
    network = Mininet(topo=topo, switch=bridge_class(), link=TCLink, controller=None)
    try:
        network.start()
        left, right = network.hosts
        namespaces = f"/proc/{left.pid}/ns/net", f"/proc/{right.pid}/ns/net"
        yield Place(*namespaces, left.IP(), right.IP(), namespaces[0])
    finally:
        network.stop()


async def measure(place: Place, rate_mbps: float | None, mtu: int, seconds: float) -> dict[str, Any]:
    """Sends more than the rate for so long, and looks at how fast it arrives. Raises RuntimeError."""
    size = mtu - (HEADERS - FRAME_HEADER)
    offered = UNSHAPED_MBPS if rate_mbps is None else OFFERED * rate_mbps
    ends = {"local": f"{place.left_address}:0", "remote": f"{place.right_address}:{PORT}"}
    cpus = sorted(os.sched_getaffinity(0))
    sink = _workload("sink", place.right)
    source = _workload("source", place.left)
    try:
        await sink.begin(
            {"local": ends["remote"], "size": size, "queue_datagrams": SINK_QUEUE, "flow": FLOW},
            lambda pid: os.sched_setaffinity(pid, {cpus[-1]}),
        )
        await source.begin(
            {
                **ends,
                "size": size,
                "rate_mbps": offered,
                "warmup_s": UNSHAPED_WARMUP_S if rate_mbps is None else WARMUP_S,
                "duration_s": seconds,
                "flow": FLOW,
            },
            lambda pid: os.sched_setaffinity(pid, {cpus[0]}),
        )
        waiting = await _all_arrived(sink, source, place)
        await sink.stop(lambda pid: None)
    finally:
        await source.kill("the trial ended")
        await sink.kill("the trial ended")
    if source.result is None or sink.result is None:
        raise RuntimeError(f"source: {source.message or 'done'}; sink: {sink.message or 'done'}")
    return judged(sink.result, waiting, _refused(place), rate_mbps, size)


def _workload(kind: str, namespace: str) -> Workload:
    command = ["nsenter", f"--net={namespace}", sys.executable, "-m", "agents.workload"]
    return Workload(kind, kind, SYSTEM, command)


Waiting = list[tuple[int, int]]
"""Moments (monotonic, ns), and how many frames waited in the shaper then."""


async def _all_arrived(sink: Workload, source: Workload, place: Place) -> Waiting:
    """Returns when the source is done and nothing arrives any more, with what waited meanwhile."""
    waiting: Waiting = []
    came, last = -1, time.monotonic()
    while source.active or time.monotonic() - last < SILENCE_S:
        counted = _within(place.shaper, namespace_counters)
        queued = sum(device.get("qdisc_backlog_packets", 0) for device in counted.values())
        waiting.append((time.monotonic_ns(), queued))
        if (now := sink.counters().get("datagrams_in", 0)) != came:
            came, last = now, time.monotonic()
        await asyncio.sleep(LOOK_S)
    return waiting


def _within(namespace: str, work: Callable[[], Any]) -> Any:
    def enter() -> Any:
        descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            enter_network_namespace(descriptor, namespace)
        finally:
            os.close(descriptor)
        return work()

    return in_thread(enter)


def _refused(place: Place) -> int:
    """Datagrams that came through the network, and that the receiving host had no room for."""

    def count() -> int:
        names, values = (
            line.split()[1:]
            for line in Path("/proc/thread-self/net/snmp").read_text().splitlines()
            if line.startswith("Udp:")
        )
        udp = dict(zip(names, map(int, values), strict=True))
        return udp["RcvbufErrors"] + sum(device["rx_dropped"] for device in namespace_counters().values())

    return int(_within(place.right, count))


def judged(
    sink: dict[str, Any], waiting: Waiting, refused: int, rate_mbps: float | None, size: int
) -> dict[str, Any]:
    """What the sink's counts, the looks at the shaper, and what was refused at the end come to."""
    first, last = int(sink["first_measured_ns"]), int(sink["last_measured_ns"])
    if last <= first:
        raise RuntimeError("nothing arrived")
    received = int(sink["received_measured"])
    bits = (received - 1) * (size + HEADERS) * 8
    looks = [queued for moment, queued in waiting if first <= moment <= last - LOOK_S * 1e9]
    empty = sum(not queued for queued in looks)
    reason = None
    if rate_mbps is not None and refused > REFUSED * received:
        reason = f"cannot carry: the receiving host had no room for {refused} datagrams"
    elif rate_mbps is not None and empty > EMPTY * len(looks):
        reason = f"cannot carry: at {empty} of {len(looks)} looks nothing waited for the shaper"
    return {"mbps": bits / (last - first) * 1e3, "reason": reason}


def main(system: str, rate: str, mtu: str, seconds: str) -> None:
    """A trial."""
    rate_mbps = float(rate) or None
    medium = "shared" if system == SHARED else "switched"
    made = mininet(rate_mbps) if system == MININET else transship(medium, rate_mbps, int(mtu))
    with made as place:
        found = asyncio.run(measure(place, rate_mbps, int(mtu), float(seconds)))
    print(json.dumps(found))


if __name__ == "__main__":
    die_with_the_benchmark()
    main(*sys.argv[1:])
