"""A fake machine on which a long stream of datagrams flows in real time while budget and hogs change."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents.client import Json
from tests.agents.fake_machine import FakeMachine
from topologies.loader import load_topology

LONG_S = 10.0
"""Sources that run longer than this (seconds of the model) are streams; the others are trials."""
TOPOLOGY = Path(__file__).parents[3] / "topologies" / "two-fddi.yaml"


class LiveMachine(FakeMachine):
    """As `FakeMachine`; a stream's counter at the forwarder grows with the clock."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._streams: dict[str, tuple[float, float, Json]] = {}

    async def start(self, lab: str, host: str, spec: Mapping[str, Any]) -> str:
        params = dict(spec["params"])
        stream = spec["workload"] == "source" and params["duration_s"] > LONG_S
        if stream:
            params |= {"remote": "10.255.0.1:1"}
        found = await super().start(lab, host, {**spec, "params": params})
        if stream:
            self._labs[lab].workloads[found].ends = None
            self._streams[lab] = (time.monotonic(), 0.0, dict(spec["params"]))
        return found

    async def set_budget(self, lab: str, host: str, quota_us: int | None, period_us: int) -> None:
        self._flow(lab)
        await super().set_budget(lab, host, quota_us, period_us)

    async def set_hogs(self, lab: str, host: str, count: int) -> Json:
        self._flow(lab)
        return await super().set_hogs(lab, host, count)

    async def workload(self, lab: str, host: str, workload_id: str, wait_s: float = 0.0) -> Json:
        self._flow(lab)
        state = await super().workload(lab, host, workload_id, wait_s)
        if lab in self._streams and state["workload"] == "forwarder" and state["state"] == "running":
            state["counters"]["datagrams_out"] = int(self._streams[lab][1])
        return state

    async def stop(self, lab: str, host: str, workload_id: str) -> Json:
        if workload_id.startswith("source"):
            self._streams.pop(lab, None)
        return await super().stop(lab, host, workload_id)

    def _flow(self, lab: str) -> None:
        """Lets the stream run up to now under what was in force since the last call."""
        if lab not in self._streams:
            return
        since, count, params = self._streams[lab]
        now = time.monotonic()
        found = self._labs[lab]
        rate = min(params["rate_mbps"], self.capacity("linux", found.hogs["middle"], found.cpu["middle"]))
        self._streams[lab] = (now, count + rate * 1e6 / 8 / params["size"] * (now - since), params)


async def with_lab(machine: FakeMachine, lab: str = "fddi") -> FakeMachine:
    """Deploys the experiment's topology on `machine`."""
    await machine.deploy(lab, load_topology(TOPOLOGY).model_dump(mode="json"))
    return machine
