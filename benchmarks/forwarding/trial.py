"""One trial: more datagrams than the middle host can forward, and how many it does forward.

What counts is what leaves the middle host on its outgoing interface. Behind that are the network and the
sink, which have another core to compete for with the source and are not what is compared.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.forwarding.raw import RawForwarder, Way
from orchestrator.experiments.snapshots import quiet
from orchestrator.experiments.way import interface
from orchestrator.experiments.workloads import Setting, Target, Workloads

SHIPPING, FRAMES, RAW = SYSTEMS = ("shipping", "shipping-frames", "raw")
"""Transship's manager and forwarder, the same without segmentation offload (every frame is given to the
kernel by itself, as the bound does), and the bound."""
SATURATED = 0.95
"""A trial in which more than this fraction of what was offered is forwarded did not find the limit."""
WARMUP_S, TAIL_S = 0.4, 0.3
PERIOD_US = 100_000


@dataclass(frozen=True)
class Load:
    """`size` bytes of payload, `offered` datagrams per second for `seconds`, against `hogs`."""

    size: int
    hogs: int
    offered: float
    seconds: float
    queue_datagrams: int


@dataclass(frozen=True)
class Found:
    """Datagrams per second `offered` and `forwarded`, microseconds of CPU the I/O path took for each, and the
    fraction of all sent that never arrived at the sink. A trial with a `reason` says nothing."""

    offered: float
    forwarded: float
    cpu_us: float
    loss: float
    reason: str | None


def way_through(record: Mapping[str, Any], target: Target) -> Way:
    """Where the raw forwarder works, from the lab's record."""
    path = target.definition.path
    middle = record["hosts"][path.forwarder]
    out = interface(record, path.forwarder, path.ring_out)
    onward = interface(record, path.sink, path.ring_out)
    return Way(
        namespace=middle["namespace"],
        cgroup=middle["cgroup"],
        interface_in=interface(record, path.forwarder, path.ring_in)["name"],
        interface_out=out["name"],
        own_mac=out["mac"],
        next_mac=onward["mac"],
        own_address=out["address"],
        next_address=onward["address"],
    )


async def run_trial(target: Target, way: Way, program: Path, system: str, load: Load, flow: int) -> Found:
    """Measures one system. Raises TrialFailed, RawError or AgentError; whatever ran is stopped by then."""
    # Neither shaped nor on a budget: the CPU that the hogs leave is the limit.
    setting = Setting(None, load.offered * load.size * 8 / 1e6, None, PERIOD_US, load.queue_datagrams)
    case = target.case(setting, SHIPPING, load.hogs, segmentation=system == SHIPPING)
    await quiet(target)
    async with AsyncExitStack() as stack:
        workloads = await stack.enter_async_context(Workloads(target, case))
        sink = await workloads.sink(flow)
        if system == RAW:
            raw = RawForwarder(program, way, load.queue_datagrams)
            stack.push_async_callback(raw.kill)
            await raw.ready()
        else:
            forwarder = await workloads.forwarder()
        stack.push_async_callback(target.set_hogs, 0)
        await target.set_hogs(load.hogs)
        source = await workloads.source(flow, WARMUP_S, load.seconds + TAIL_S)
        await asyncio.sleep(WARMUP_S)
        before = await _look(target)
        await asyncio.sleep(load.seconds)
        after = await _look(target)
        await target.set_hogs(0)
        sent = (await workloads.finish(source))["result"]
        if system == RAW:
            await raw.stop()
        else:
            await workloads.finish(forwarder)
        arrived = (await workloads.finish(sink))["result"]
    return _judge(before, after, sent["sent"], arrived["unique"])


@dataclass(frozen=True)
class Look:
    """Datagrams offered to the middle host and forwarded by it, and its I/O path's CPU time, at a moment."""

    ns: int
    offered: int
    forwarded: int
    cpu_us: int


async def _look(target: Target) -> Look:
    host = target.definition.path.forwarder
    ns = time.monotonic_ns()
    network, middle = await asyncio.gather(
        target.machine.counters(target.lab), target.machine.host_counters(target.lab, host)
    )
    return Look(
        (ns + time.monotonic_ns()) // 2,
        _out(network, target.way.wires[0].sender),
        _out(network, target.way.wires[1].sender),
        middle["cpu.io_usec"],
    )


def _out(network: Mapping[str, int], device: str) -> int:
    """Frames sent: also those that were refused at the other end, whose sender has done all its work."""
    return network[f"{device}.tx_packets"] + network[f"{device}.tx_dropped"]


def _judge(before: Look, after: Look, sent: int, arrived: int) -> Found:
    seconds = (after.ns - before.ns) / 1e9
    forwarded = after.forwarded - before.forwarded
    offered = after.offered - before.offered
    reason = None
    if forwarded > SATURATED * offered:
        reason = (
            f"the source was the bottleneck: the middle host forwarded {forwarded / max(1, offered):.0%} of "
            f"{offered / seconds:.0f} datagrams/s"
        )
    return Found(
        offered=offered / seconds,
        forwarded=forwarded / seconds,
        cpu_us=(after.cpu_us - before.cpu_us) / max(1, forwarded),
        loss=1 - arrived / max(1, sent),
        reason=reason,
    )
