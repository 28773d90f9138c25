"""A machine in memory: labs, budgets, hogs and workloads whose results follow from a simple model."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from agents.client import Conversation, Json, Place
from agents.errors import AgentError
from agents.pictures import Picture
from tests.agents.local_model import WRITERS, Rate, copy_file, hand_over, usual_rate
from tests.agents.traffic_model import (
    FakeLab,
    FakeWorkload,
    Sending,
    arrive,
    cross,
    forward,
    fresh_result,
    ring_mbps,
    sample,
    way,
)

FULL_MBPS = {"linux": 2000.0, "linux-batch": 2600.0, "copy": 2800.0, "shipping": 4400.0}
"""What a forwarder of each system does on a whole CPU, in the model."""
Capacity = Callable[[str, int, float], float]


def usual_capacity(system: str, hogs: int, cpu: float) -> float:
    """Payload in Mb/s that a forwarder passes on `cpu` of a CPU shared with `hogs` equal competitors."""
    return FULL_MBPS[system] * cpu / (1 + hogs)


class FakeMachine:
    """A `Machine`. `speed` is how many seconds of the model pass in one of the clock's.

    Planted faults, on the last network of a datagram's way, which no counter sees: the sequence numbers
    in `vanish` and `duplicate`. `broken`, when set, is what every request raises.
    """

    def __init__(
        self, capacity: Capacity = usual_capacity, speed: float = 100.0, rate: Rate = usual_rate
    ) -> None:
        self.capacity = capacity
        self.rate = rate
        self.busy = 0.9
        self.speed = speed
        self.vanish: set[int] = set()
        self.duplicate: set[int] = set()
        self.broken: AgentError | None = None
        self.calls: list[str] = []
        self._labs: dict[str, FakeLab] = {}
        self._numbers = itertools.count(1)

    async def health(self) -> Json:
        self._called("health")
        return {"status": "ok", "pid": 1, "run_root": "/run/transship", "labs": len(self._labs)}

    async def notices(self, after: int, wait_s: float) -> list[Json]:
        self._called("notices")
        await asyncio.sleep(wait_s)
        return []

    async def deploy(self, lab: str, topology: Mapping[str, Any]) -> Json:
        self._called(f"deploy {lab}")
        present = self._labs.get(lab)
        if present is not None and present.topology != dict(topology):
            raise AgentError(409, f"lab {lab!r} is deployed with another topology")
        if present is None:
            present = self._labs[lab] = FakeLab(lab, topology)
        return present.record

    async def labs(self) -> list[Json]:
        self._called("labs")
        return [
            {
                "lab": name,
                "topology": lab.topology["name"],
                "hosts": list(lab.topology["hosts"]),
                "networks": list(lab.topology["networks"]),
            }
            for name, lab in self._labs.items()
        ]

    async def lab(self, lab: str) -> Json:
        self._called(f"lab {lab}")
        found = self._lab(lab)
        agents = {host: {"state": "running", "pid": 1000, "message": ""} for host in found.hosts}
        return {**found.record, "agents": agents}

    async def destroy(self, lab: str) -> None:
        self._called(f"destroy {lab}")
        self._labs.pop(lab, None)

    async def counters(self, lab: str) -> dict[str, int]:
        self._called(f"counters {lab}")
        return dict(self._lab(lab).counters)

    async def look(self, lab: str) -> Json:
        raise AgentError(409, "in this model nobody looks")

    async def lab_metrics(self, lab: str) -> bytes:
        raise AgentError(409, "in this model nobody looks")

    async def difference(self, lab: str, topology: Mapping[str, Any]) -> list[Json]:
        self._called(f"difference {lab}")
        return []

    async def apply(self, lab: str, topology: Mapping[str, Any]) -> Json:
        self._called(f"apply {lab}")
        return {"changes": [], "record": self._lab(lab).record}

    async def cut(self, lab: str, network: str, host: str | None = None) -> Json:
        self._called(f"cut {lab} {network} {host}")
        return self._lab(lab).record

    async def heal(self, lab: str, network: str, host: str | None = None) -> Json:
        self._called(f"heal {lab} {network} {host}")
        return self._lab(lab).record

    async def stop_host(self, lab: str, host: str) -> Json:
        self._called(f"stop_host {lab} {host}")
        return self._host(lab, host).record

    async def start_host(self, lab: str, host: str) -> Json:
        self._called(f"start_host {lab} {host}")
        return self._host(lab, host).record

    async def set_network(
        self, lab: str, network: str, rate_mbps: float | None, impairments: Mapping[str, Any] | None = None
    ) -> Json:
        self._called(f"set_network {lab} {network} {rate_mbps}")
        found = self._lab(lab)
        if network not in found.record["networks"]:
            raise AgentError(404, f"there is no network {network!r} in lab {lab!r}", "network")
        found.record["networks"][network]["rate_mbps"] = rate_mbps
        return found.record

    async def set_budget(self, lab: str, host: str, quota_us: int | None, period_us: int) -> None:
        self._called(f"set_budget {lab} {host} {quota_us} {period_us}")
        self._host(lab, host).cpu[host] = 1.0 if quota_us is None else quota_us / period_us

    async def set_hogs(self, lab: str, host: str, count: int) -> Json:
        self._called(f"set_hogs {lab} {host} {count}")
        self._host(lab, host).hogs[host] = count
        return await self.hogs(lab, host)

    async def host_counters(self, lab: str, host: str) -> dict[str, int]:
        self._called(f"host_counters {lab} {host}")
        found = self._host(lab, host)
        return {
            "cpu.io_usec": int(time.monotonic() * 1e6 * self.busy),
            "hogs.running": found.hogs[host],
            **found.hosts[host],
        }

    async def start(self, lab: str, host: str, spec: Mapping[str, Any]) -> str:
        self._called(f"start {lab} {host} {spec['workload']} {spec['system']}")
        found = self._host(lab, host)
        if spec["system"] not in FULL_MBPS:
            raise AgentError(422, f"there is no I/O system {spec['system']!r}", "system")
        workload = FakeWorkload(f"{spec['workload']}-{next(self._numbers)}", host, dict(spec))
        if spec["system"] in ("copy", "shipping"):
            result = {"backend": "packet", "mode": "model"}
            workload.manager = {"state": "running", "counters": {}, "result": result}
        found.workloads[workload.id] = workload
        if spec["workload"] in WRITERS:
            hand_over(found, workload, self.rate, self.speed)
        elif spec["workload"] == "copier":
            copy_file(workload, self.speed)
        else:
            fresh_result(workload)
        if spec["workload"] == "source":
            self._send(found, workload)
        return workload.id

    async def hogs(self, lab: str, host: str) -> Json:
        self._called(f"hogs {lab} {host}")
        count = self._host(lab, host).hogs[host]
        return {"count": count, "running": count, "pids": list(range(2000, 2000 + count))}

    async def workloads(self, lab: str, host: str, over_s: float = 0.0) -> list[Json]:
        self._called(f"workloads {lab} {host}")
        return [w.look() for w in self._host(lab, host).workloads.values() if w.host == host]

    async def workload(self, lab: str, host: str, workload_id: str, wait_s: float = 0.0) -> Json:
        self._called(f"workload {lab} {host} {workload_id}")
        workload = self._workload(lab, host, workload_id)
        assert 0 <= wait_s <= 30, "as a real agent has it"
        if wait_s > 0 and workload.look()["state"] == "running":
            ends = wait_s if workload.ends is None else workload.ends - time.monotonic()
            await asyncio.sleep(min(wait_s, max(ends, 0.0)))
        return workload.look()

    async def tell(self, lab: str, host: str, workload_id: str, command: Mapping[str, Any]) -> None:
        self._called(f"tell {lab} {host} {workload_id} {command['command']}")
        self._workload(lab, host, workload_id)

    async def change(self, lab: str, host: str, workload_id: str, change: Mapping[str, Any]) -> Json:
        self._called(f"change {lab} {host} {workload_id}")
        raise AgentError(409, "in this model sources send all at once")

    async def stop(self, lab: str, host: str, workload_id: str) -> Json:
        self._called(f"stop {lab} {host} {workload_id}")
        workload = self._workload(lab, host, workload_id)
        if workload.state == "running":
            workload.state = "done"
        return workload.look()

    async def metrics(self, lab: str, host: str) -> bytes:
        self._called(f"metrics {lab} {host}")
        count = sum(w.host == host for w in self._host(lab, host).workloads.values())
        return f'transship_workloads{{host="{host}",lab="{lab}"}} {count}\n'.encode()

    async def exec(self, lab: str, host: str, argv: Sequence[str]) -> Json:
        self._called(f"exec {lab} {host} {' '.join(argv)}")
        self._host(lab, host)
        return {"exit": 0, "stdout": " ".join(argv) + "\n", "stderr": "", "truncated": False}

    async def picture(self, lab: str, host: str, workload_id: str, width: int | None = None) -> Picture:
        raise AgentError(409, "in this model nothing is shown")

    def capture(
        self, lab: str, place: Place, limit: int | None, snaplen: int
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        raise AgentError(409, "in this model there are no frames")

    def console(
        self, lab: str, host: str, options: Mapping[str, str]
    ) -> AbstractAsyncContextManager[Conversation]:
        raise AgentError(409, "in this model there are no shells")

    def running(self, lab: str) -> list[str]:
        """The ids of the workloads of the lab that have not ended."""
        return [w.id for w in self._lab(lab).workloads.values() if w.look()["state"] == "running"]

    def kill_workload(self, lab: str, workload_id: str) -> None:
        """What SIGKILL does to a workload."""
        workload = self._lab(lab).workloads[workload_id]
        workload.state, workload.message = "failed", "killed by signal 9 (SIGKILL)"

    def _send(self, lab: FakeLab, source: FakeWorkload) -> None:
        """All of a source's datagrams, at once; that the source is done is seen when it would be."""
        params = source.spec["params"]
        size, warmup, duration = params["size"], params["warmup_s"], params["duration_s"]
        hops = way(lab, source)
        wanted = params["rate_mbps"]
        possible = [ring_mbps(lab, hop, size) for hop in hops]
        rate = min(wanted, possible[0]) if possible else wanted
        spacing = size * 8 / (rate * 1e6)
        sent = int((warmup + duration) / spacing)
        t0 = time.monotonic_ns() + int(warmup * 1e9)
        source.ends = time.monotonic() + (warmup + duration) / self.speed
        measured = range(int(warmup / spacing), sent)
        sending = Sending(t0 - int(warmup * 1e9), spacing * 1e9, measured)
        source.result = {
            "sent": sent,
            "sent_measured": len(measured),
            "t0_ns": t0,
            "t1_ns": t0 + int(duration * 1e9),
            "offered_mbps": rate,
            "late": 0.0,
            "busy": 0.2,
            "send_blocked": 0,
        }
        source.counters.update(datagrams_out=sent, bytes_out=sent * size)
        numbers: Sequence[int] = range(sent)
        sample(source, numbers, sending.at, {"datagrams_out": lambda sent: sent})
        for index, (sender, receiver) in enumerate(hops):
            if receiver is None:
                return
            cross(lab, (sender, receiver), len(numbers), size)
            if receiver.spec["workload"] == "sink":
                numbers = [n for n in numbers if n not in self.vanish]
                numbers = sorted([*numbers, *(n for n in numbers if n in self.duplicate)])
                arrive(receiver, numbers, sending, size)
                return
            host = receiver.host
            limit = self.capacity(receiver.spec["system"], lab.hogs[host], lab.cpu[host])
            numbers = forward(lab, receiver, numbers, min(limit, *possible[index + 1 :]) / rate, size)

    def _called(self, call: str) -> None:
        self.calls.append(call)
        if self.broken is not None:
            raise self.broken

    def _lab(self, lab: str) -> FakeLab:
        if lab not in self._labs:
            raise AgentError(404, f"there is no lab {lab!r}", "lab")
        return self._labs[lab]

    def _host(self, lab: str, host: str) -> FakeLab:
        found = self._lab(lab)
        if host not in found.hosts:
            raise AgentError(404, f"there is no host {host!r} in lab {lab!r}", "host")
        return found

    def _workload(self, lab: str, host: str, workload_id: str) -> FakeWorkload:
        workload = self._host(lab, host).workloads.get(workload_id)
        if workload is None or workload.host != host:
            raise AgentError(404, f"there is no workload {workload_id!r}", "workload")
        return workload
