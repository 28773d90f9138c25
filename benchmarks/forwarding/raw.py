"""The raw forwarder: compiled when its source has changed, and run on the host whose datagrams it forwards.

It is no workload of the host agent, which knows only what Transship offers. It is a child of the benchmark
that enters the host's network namespace by itself and is put into the control group of the host's I/O path,
where a forwarder of Transship runs: same CPU, same share against each hog.
"""

from __future__ import annotations

import asyncio
import json
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.processes import Child, Lines, ending, tail_of
from benchmarks._compiled import CompileError, compiled
from topologies.builder.netns import NETNS_DIR
from topologies.cgroups import HostCgroup

SOURCE = Path(__file__).with_name("raw.c")
START_S, STOP_S = 20.0, 5.0


class RawError(RuntimeError):
    """The raw forwarder could not be built, did not start, or broke; the message says why."""


def build(cache: Path) -> Path:
    """The program, from `cache` if it was made from this very source. Raises RawError."""
    try:
        return compiled("forwarding-raw", [SOURCE], cache)
    except CompileError as error:
        raise RawError(str(error)) from error


@dataclass(frozen=True)
class Way:
    """Where datagrams are taken and sent on: names of interfaces, MAC and IPv4 addresses as text."""

    namespace: str
    cgroup: str
    interface_in: str
    interface_out: str
    own_mac: str
    next_mac: str
    own_address: str
    next_address: str


class RawForwarder:
    """One running raw forwarder; the kernel kills it when this process ends."""

    def __init__(self, program: Path, way: Way, queue_datagrams: int) -> None:
        self._said: asyncio.Queue[bytes] = asyncio.Queue()
        self._way = way
        netns = str(NETNS_DIR / way.namespace)
        addresses = (way.own_mac, way.next_mac, way.own_address, way.next_address)
        self._child = Child(
            [str(program), netns, way.interface_in, way.interface_out, *addresses, str(queue_datagrams)],
            on_output=Lines(self._said.put_nowait),
        )

    async def ready(self) -> None:
        """Returns when it forwards, in the host's control group. Raises RawError."""
        if await self._line(START_S) != b"ready":
            raise RawError("the raw forwarder said something else than ready")
        HostCgroup(self._way.cgroup).attach(self._child.pid, "io")

    async def stop(self) -> dict[str, Any]:
        """Ends it; returns what it counted: received, sent, drop_*, wakeups, sends. Raises RawError."""
        self._child.signal(signal.SIGTERM)
        result: dict[str, Any] = json.loads(await self._line(STOP_S))
        await self._child.wait()
        return result

    async def kill(self) -> None:
        """Ends it at once; nothing happens when it has ended."""
        await self._child.kill()

    async def _line(self, within_s: float) -> bytes:
        line = asyncio.ensure_future(self._said.get())
        ended = asyncio.ensure_future(self._child.wait())
        try:
            await asyncio.wait({line, ended}, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
            if line.done():
                return line.result()
            if not self._said.empty():
                return self._said.get_nowait()
        finally:
            line.cancel()
            ended.cancel()
        if self._child.returncode is None:
            raise RawError(f"the raw forwarder did not answer within {within_s:g} s")
        how = ending(self._child.returncode)
        raise RawError(f"the raw forwarder {how}{tail_of(self._child.stderr)}")
