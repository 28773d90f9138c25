"""The machine agent's HTTP interface."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from agents import families, metrics
from agents.errors import Problem
from agents.machine_attended import Attended
from agents.machine_builder import refused_topology, told
from agents.machine_hosts import HostLink, unused
from agents.machine_labs import Labs
from agents.problems import BODY_LIMIT, problem_middleware, read_json, read_model, seconds
from agents.requests import Budget, Change, Command, Execution, HogCount, NetworkChange, WorkloadSpec
from agents.tokens import Tokens
from agents.transport import path_of
from topologies import TopologyError, load_topology
from topologies.builder.difference import Change as TopologyChange
from topologies.cgroups import CgroupError
from topologies.model import Name, Topology
from topologies.record import Record

# Seconds a host agent may take: it gives a workload, and before it a manager, a minute to become ready.
START_S = 150.0
HOGS_S = 90.0
EXEC_S = 45.0
WAIT_S = 60.0

_name: TypeAdapter[str] = TypeAdapter(Name)


class MachineApp:
    """Routes of the machine agent over its `labs`, for those who have the `tokens`, if there are any."""

    def __init__(self, labs: Labs, run_root: Path, tokens: Tokens | None = None) -> None:
        self._tokens = tokens
        self._labs = labs
        self._run_root = run_root

    def app(self) -> web.Application:
        """The application that serves this machine."""
        app = web.Application(middlewares=[problem_middleware], client_max_size=BODY_LIMIT)
        if self._tokens is not None:
            self._tokens.guard(app)
        host, network = "/labs/{lab}/hosts/{host}", "/labs/{lab}/networks/{network}"
        app.add_routes(
            [
                web.get("/health", self._health),
                web.get("/notices", self._notices),
                web.get("/labs", self._list),
                web.put("/labs/{lab}", self._deploy),
                web.get("/labs/{lab}", self._lab),
                web.delete("/labs/{lab}", self._destroy),
                web.get("/labs/{lab}/counters", self._counters),
                web.get("/labs/{lab}/look", self._look),
                web.get("/labs/{lab}/metrics", self._lab_metrics),
                web.post("/labs/{lab}/difference", self._difference),
                web.post("/labs/{lab}/apply", self._apply),
                web.put(network, self._set_network),
                web.post(f"{network}/cut", self._cut),
                web.post(f"{network}/heal", self._heal),
                web.post(f"{host}/links/{{network}}/cut", self._cut),
                web.post(f"{host}/links/{{network}}/heal", self._heal),
                web.post(f"{host}/stop", self._stop_host),
                web.post(f"{host}/start", self._start_host),
                web.put(f"{host}/budget", self._set_budget),
                web.get(f"{host}/hogs", self._hogs),
                web.put(f"{host}/hogs", self._set_hogs),
                web.get(f"{host}/counters", self._host_counters),
                web.get(f"{host}/metrics", self._metrics),
                web.get(f"{host}/workloads", self._workloads),
                web.post(f"{host}/workloads", self._start),
                web.get(f"{host}/workloads/{{id}}", self._workload),
                web.patch(f"{host}/workloads/{{id}}", self._change),
                web.delete(f"{host}/workloads/{{id}}", self._stop),
                web.post(f"{host}/workloads/{{id}}/commands", self._tell),
                web.post(f"{host}/exec", self._exec),
                *Attended(self._labs).routes(),
            ]
        )
        return app

    async def _health(self, request: web.Request) -> web.Response:
        labs = len(self._labs.deployed())
        return web.json_response(
            {"status": "ok", "pid": os.getpid(), "run_root": str(self._run_root), "labs": labs}
        )

    async def _notices(self, request: web.Request) -> web.Response:
        number = request.query.get("after", "0")
        if not number.isdecimal() or len(number) > 18:
            raise Problem(422, f"after must be the number of a notice, not {number[:40]!r}", "after")
        wait_s = seconds(request, "wait_s")
        return web.json_response({"notices": await self._labs.notices.after(int(number), wait_s)})

    async def _list(self, request: web.Request) -> web.Response:
        labs = [
            {
                "lab": record.lab,
                "topology": record.topology.name,
                "hosts": list(record.hosts),
                "networks": list(record.networks),
            }
            for lab in self._labs.deployed()
            if (record := lab.record) is not None
        ]
        return web.json_response({"labs": labs})

    async def _deploy(self, request: web.Request) -> web.Response:
        name = request.match_info["lab"]
        if not _is_name(name):
            raise Problem(422, f"a lab cannot be named {name[:80]!r}: {_NAME_RULE}", "lab")
        lab, new = await self._labs.deploy(name, _topology(await read_json(request)))
        assert lab.record is not None
        return _told(lab.record, 201 if new else 200)

    async def _lab(self, request: web.Request) -> web.Response:
        return web.json_response(self._labs.get(request.match_info["lab"]).describe())

    async def _destroy(self, request: web.Request) -> web.Response:
        name = request.match_info["lab"]
        if _is_name(name):  # no lab has any other name, so there is none to destroy
            await self._labs.destroy(name)
        return web.Response(status=204)

    async def _difference(self, request: web.Request) -> web.Response:
        lab, topology = request.match_info["lab"], _topology(await read_json(request))
        return web.json_response(_changes(await self._labs.difference(lab, topology)))

    async def _apply(self, request: web.Request) -> web.Response:
        lab, topology = request.match_info["lab"], _topology(await read_json(request))
        record, changes = await self._labs.apply(lab, topology)
        return web.json_response(_changes(changes) | {"record": record.model_dump(mode="json")})

    async def _counters(self, request: web.Request) -> web.Response:
        return web.json_response(await self._labs.counters(request.match_info["lab"]))

    async def _look(self, request: web.Request) -> web.Response:
        return web.json_response(await self._labs.look(request.match_info["lab"]))

    async def _lab_metrics(self, request: web.Request) -> web.Response:
        name = request.match_info["lab"]
        text = await asyncio.to_thread(metrics.render_lab, name, await self._labs.look(name))
        return web.Response(body=text, headers={"Content-Type": families.CONTENT_TYPE})

    async def _set_network(self, request: web.Request) -> web.Response:
        change = await read_model(request, NetworkChange)
        lab, network = request.match_info["lab"], request.match_info["network"]
        return _told(await self._labs.set_network(lab, network, change.rate_mbps, change.impairments))

    async def _cut(self, request: web.Request) -> web.Response:
        return _told(await self._labs.set_cut(*_where(request), cut=True))

    async def _heal(self, request: web.Request) -> web.Response:
        return _told(await self._labs.set_cut(*_where(request), cut=False))

    async def _stop_host(self, request: web.Request) -> web.Response:
        return _told(await self._labs.stop_host(request.match_info["lab"], request.match_info["host"]))

    async def _start_host(self, request: web.Request) -> web.Response:
        return _told(await self._labs.start_host(request.match_info["lab"], request.match_info["host"]))

    async def _set_budget(self, request: web.Request) -> web.Response:
        budget = await read_model(request, Budget)
        lab = self._labs.get(request.match_info["lab"])
        try:
            lab.set_budget(request.match_info["host"], budget.quota_us, budget.period_us)
        except CgroupError as error:
            raise told(error) from error
        return web.json_response(budget.model_dump())

    async def _hogs(self, request: web.Request) -> web.Response:
        link = self._link(request)
        if link.state == "none":
            return web.json_response({"count": 0, "running": 0, "pids": []})
        return _passed(await link.ask("GET", "/hogs"))

    async def _set_hogs(self, request: web.Request) -> web.Response:
        body = await read_model(request, HogCount)
        link = self._link(request)
        return _passed(await link.ask("PUT", "/hogs", body.model_dump(), changes=True, timeout_s=HOGS_S))

    async def _host_counters(self, request: web.Request) -> web.Response:
        return _passed(await self._link(request).ask("GET", "/counters"))

    async def _metrics(self, request: web.Request) -> web.Response:
        link = self._link(request)
        # Being looked at is not being used: a scrape of 200 idle hosts must not start 200 agents.
        said = json.loads(await link.ask("GET", "/look")) if link.state != "none" else None
        usec = await asyncio.to_thread(link.cpu_usec)
        text = metrics.render_host(link.setup.lab, link.setup.host, {"cpu_usec": usec, "said": said})
        return web.Response(body=text, headers={"Content-Type": families.CONTENT_TYPE})

    async def _workloads(self, request: web.Request) -> web.Response:
        link = self._link(request)
        if link.state == "none":
            return web.json_response({"workloads": []})
        return _passed(await link.ask("GET", "/workloads" + _query(request, "over_s"), timeout_s=WAIT_S))

    async def _start(self, request: web.Request) -> web.Response:
        spec = await read_model(request, WorkloadSpec)
        answer = await self._link(request).ask(
            "POST", "/workloads", spec.model_dump(), changes=True, timeout_s=START_S
        )
        return _passed(answer, 201)

    async def _workload(self, request: web.Request) -> web.Response:
        return _passed(await self._ask_workload(request, "GET", _query(request, "wait_s"), timeout_s=WAIT_S))

    async def _change(self, request: web.Request) -> web.Response:
        change = await read_model(request, Change)
        return _passed(await self._ask_workload(request, "PATCH", body=change.model_dump()))

    async def _stop(self, request: web.Request) -> web.Response:
        return _passed(await self._ask_workload(request, "DELETE"))

    async def _tell(self, request: web.Request) -> web.Response:
        command = await read_model(request, Command)
        await self._ask_workload(request, "POST", "/commands", command.model_dump())
        return web.Response(status=204)

    async def _exec(self, request: web.Request) -> web.Response:
        body = await read_model(request, Execution)
        link = self._link(request)
        answer = await link.ask("POST", "/exec", body.model_dump(), changes=True, timeout_s=EXEC_S)
        return _passed(answer)

    async def _ask_workload(
        self, request: web.Request, method: str, rest: str = "", body: Any = None, timeout_s: float = 30.0
    ) -> bytes:
        link, workload = self._link(request), request.match_info["id"]
        if link.state == "none":
            raise unused(link, workload)
        return await link.ask(method, path_of("workloads", workload) + rest, body, timeout_s=timeout_s)

    def _link(self, request: web.Request) -> HostLink:
        return self._labs.get(request.match_info["lab"]).link(request.match_info["host"])


_NAME_RULE = "a name is 1 to 31 lower-case letters, digits and '-', and begins with a letter"


def _is_name(text: str) -> bool:
    try:
        _name.validate_python(text)
    except ValidationError:
        return False
    return True


def _topology(body: Any) -> Topology:
    if not isinstance(body, dict):
        raise Problem(422, "a topology is a JSON object with name, hosts and networks")
    try:
        return load_topology(body)
    except TopologyError as error:
        raise refused_topology(error) from None


def _where(request: web.Request) -> tuple[str, str, str | None]:
    named = request.match_info
    return named["lab"], named["network"], named.get("host")


def _told(record: Record, status: int = 200) -> web.Response:
    return web.json_response(record.model_dump(mode="json"), status=status)


def _changes(changes: list[TopologyChange]) -> dict[str, Any]:
    return {"changes": [change.document() for change in changes]}


def _query(request: web.Request, name: str) -> str:
    return f"?{name}={quote(request.query[name])}" if name in request.query else ""


def _passed(answer: bytes, status: int = 200) -> web.Response:
    return web.Response(body=answer, status=status, content_type="application/json")
