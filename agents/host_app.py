"""A host agent's HTTP interface: what its machine agent asks of it."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from aiohttp import web

from agents.cpu_times import CpuTimes
from agents.hogs import Hogs
from agents.host_counters import kernel_drops, read_network, read_softirq
from agents.host_exec import Commands
from agents.host_pictures import Pictures
from agents.host_registry import Workloads
from agents.pictures import picture_response
from agents.problems import BODY_LIMIT, pixels, problem_middleware, read_model, seconds
from agents.requests import Change, Command, Execution, HogCount, HostSetup, Interfaces, WorkloadSpec
from topologies.cgroups import HostCgroup


class HostAgent:
    """One host's workloads, hogs and counters. Needs a running event loop.

    `setup.workload_command` is what workload processes are started with.
    """

    def __init__(self, setup: HostSetup) -> None:
        self._setup = setup
        self._cgroup = HostCgroup(setup.cgroup)
        self._workloads = Workloads(
            setup,
            place=lambda pid: self._cgroup.attach(pid, "io"),
            release=lambda pid: self._cgroup.attach(pid, "agent"),
        )
        self._hogs = Hogs(self._cgroup, setup.workload_command)
        self._commands = Commands()
        self._pictures = Pictures()
        self._cpu = CpuTimes(self._cgroup)

    def app(self) -> web.Application:
        """The application that serves this agent."""
        app = web.Application(middlewares=[problem_middleware], client_max_size=BODY_LIMIT)
        self._setup.tokens.guard(app)
        app.add_routes(
            [
                web.get("/health", self._health),
                web.get("/workloads", self._list),
                web.post("/workloads", self._start),
                web.get("/workloads/{id}", self._state),
                web.patch("/workloads/{id}", self._change),
                web.delete("/workloads/{id}", self._stop),
                web.post("/workloads/{id}/commands", self._tell),
                web.get("/workloads/{id}/picture", self._picture),
                web.put("/interfaces", self._set_interfaces),
                web.get("/hogs", self._hog_state),
                web.put("/hogs", self._set_hogs),
                web.get("/counters", self._counters),
                web.get("/look", self._look),
                web.post("/exec", self._exec),
            ]
        )
        return app

    async def close(self) -> None:
        """Ends all that this agent started."""
        await self._commands.kill_all()
        await self._pictures.kill()
        await self._workloads.kill_all()
        await self._hogs.kill_all()

    async def _health(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "pid": os.getpid(), "host": self._setup.host})

    async def _list(self, request: web.Request) -> web.Response:
        over_s = seconds(request, "over_s")
        before = self._workloads.read() if over_s > 0 else None
        await asyncio.sleep(over_s)
        return web.json_response({"workloads": self._workloads.describe(before)})

    async def _start(self, request: web.Request) -> web.Response:
        workload = await self._workloads.start(await read_model(request, WorkloadSpec))
        answer = {"id": workload.id, "pid": workload.pid, "state": workload.state}
        return web.json_response(answer, status=201)

    async def _state(self, request: web.Request) -> web.Response:
        workload = self._workloads.get(request.match_info["id"])
        wait_s = seconds(request, "wait_s")
        if wait_s > 0:
            await workload.finished(wait_s)
        return web.json_response(workload.describe())

    async def _change(self, request: web.Request) -> web.Response:
        workload = self._workloads.get(request.match_info["id"])
        workload.change(await read_model(request, Change))
        return web.json_response(workload.describe())

    async def _stop(self, request: web.Request) -> web.Response:
        workload = await self._workloads.stop(request.match_info["id"])
        return web.json_response(workload.describe())

    async def _tell(self, request: web.Request) -> web.Response:
        workload = self._workloads.get(request.match_info["id"])
        workload.tell((await read_model(request, Command)).model_dump())
        return web.Response(status=204)

    async def _picture(self, request: web.Request) -> web.Response:
        workload = self._workloads.get(request.match_info["id"])
        return picture_response(await self._pictures.of(workload, pixels(request, "width")))

    async def _set_interfaces(self, request: web.Request) -> web.Response:
        self._setup.interfaces = (await read_model(request, Interfaces)).interfaces
        return web.Response(status=204)

    async def _hog_state(self, request: web.Request) -> web.Response:
        return web.json_response(self._describe_hogs())

    async def _set_hogs(self, request: web.Request) -> web.Response:
        await self._hogs.set((await read_model(request, HogCount)).count)
        return web.json_response(self._describe_hogs())

    async def _counters(self, request: web.Request) -> web.Response:
        found = {f"cpu.{group}_usec": usec for group, usec in self._cpu.read("io", "hogs", "work").items()}
        found |= {f"cpu.{name}": value for name, value in self._cgroup.throttled().items()}
        found["hogs.running"] = len(self._hogs.running)
        return web.json_response({**found, **read_network(), **read_softirq()})

    async def _look(self, request: web.Request) -> web.Response:
        """All that is watched of a host, but its CPU time and its links, which are read without its help."""
        about = {"moment": time.monotonic(), "hogs": len(self._hogs.running), "kernel": kernel_drops()}
        return web.json_response({**about, **self._workloads.look()})

    async def _exec(self, request: web.Request) -> web.Response:
        return web.json_response(await self._commands.run((await read_model(request, Execution)).argv))

    def _describe_hogs(self) -> dict[str, Any]:
        running = self._hogs.running
        return {"count": self._hogs.count, "running": len(running), "pids": [hog.pid for hog in running]}
