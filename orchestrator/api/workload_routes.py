"""Workloads and hogs of a host, by hand and outside experiments."""

from typing import Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from agents.errors import AgentError, Problem
from orchestrator.api import workload_models as models
from orchestrator.api.problems import read_body, validated
from orchestrator.api.routing import reply
from orchestrator.live.sample import loss_of, mbps, missing
from orchestrator.services import EVENTS, LABS, MACHINE
from orchestrator.workloads import in_our_words, specification


class OverQuery(BaseModel):
    """How long to look."""

    model_config = ConfigDict(extra="forbid")
    over_s: float = Field(
        default=0.5, ge=0, le=30, description="seconds over which rates and loss are measured; 0: not"
    )


async def start_workload(request: web.Request) -> web.Response:
    """Start a workload, and its manager if it is the first to need it."""
    lab, host = _place(request)
    asked = await read_body(request, models.WorkloadRequest)
    request.app[LABS].host_to_use(lab, host)
    hosts = request.app[LABS].find(lab).record["hosts"]
    machine = request.app[MACHINE].client
    try:
        started = await machine.start(lab, host, specification(hosts, host, asked.model_dump()))
    except AgentError as error:
        raise in_our_words(error, asked.workload) from error
    view = workload_view(await machine.workload(lab, host, started))
    location = f"/api/v1/labs/{lab}/hosts/{host}/workloads/{started}"
    return reply(view, 201, {"Location": location})


async def list_workloads(request: web.Request) -> web.Response:
    """The workloads of a host, with rates and loss over `over_s` seconds."""
    return reply(models.WorkloadList(workloads=[workload_view(one) for one in await _look(request)]))


async def get_workload(request: web.Request) -> web.Response:
    """One workload, with rates and loss over `over_s` seconds."""
    wanted = request.match_info["workload"]
    for one in await _look(request):
        if one["id"] == wanted:
            return reply(workload_view(one))
    lab, host = _place(request)
    raise Problem(404, f"there is no workload {wanted!r} in host {host!r} of lab {lab!r}", "workload")


async def change_workload(request: web.Request) -> web.Response:
    """Change the rate or size of a running source; no datagram of it is lost by that."""
    lab, host = _place(request)
    change = await read_body(request, models.WorkloadChange)
    request.app[LABS].host_to_use(lab, host)
    machine, workload = request.app[MACHINE].client, request.match_info["workload"]
    return reply(
        workload_view(await machine.change(lab, host, workload, change.model_dump(exclude_none=True)))
    )


async def stop_workload(request: web.Request) -> web.Response:
    """Stop a workload, and its manager after the last; its final state, with its result."""
    lab, host = _place(request)
    request.app[LABS].host_to_use(lab, host)
    return reply(
        workload_view(await request.app[MACHINE].client.stop(lab, host, request.match_info["workload"]))
    )


async def get_hogs(request: web.Request) -> web.Response:
    """The CPU hogs of a host."""
    lab, host = _place(request)
    request.app[LABS].host(lab, host)
    return reply(validated(models.HogsView, await request.app[MACHINE].client.hogs(lab, host)))


async def put_hogs(request: web.Request) -> web.Response:
    """Make so many CPU hogs compete on a host."""
    lab, host = _place(request)
    count = (await read_body(request, models.HogsRequest)).count
    request.app[LABS].host_to_use(lab, host)
    made = validated(models.HogsView, await request.app[MACHINE].client.set_hogs(lab, host, count))
    request.app[EVENTS].publish("hogs", {"lab": lab, "host": host, "hogs": made.count})
    return reply(made)


def _place(request: web.Request) -> tuple[str, str]:
    return request.match_info["lab"], request.match_info["host"]


async def _look(request: web.Request) -> list[dict[str, Any]]:
    lab, host = _place(request)
    over_s = validated(OverQuery, dict(request.query)).over_s
    request.app[LABS].host(lab, host)
    return await request.app[MACHINE].client.workloads(lab, host, over_s)


def workload_view(state: dict[str, Any]) -> models.WorkloadView:
    """A workload's state for REST."""
    rates, counters = state.get("per_second") or {}, state["counters"]
    manager = state["manager"]
    return models.WorkloadView(
        **{name: state[name] for name in ("id", "workload", "system", "state", "message", "pid", "params")},
        counters=counters,
        result=state["result"],
        mbps_in=mbps(rates.get("bytes_in")),
        mbps_out=mbps(rates.get("bytes_out")),
        datagrams_in_per_s=rates.get("datagrams_in"),
        datagrams_out_per_s=rates.get("datagrams_out"),
        operations_in_per_s=rates.get("operations_in"),
        operations_out_per_s=rates.get("operations_out"),
        loss=loss_of(rates),
        lost=missing(counters),
        manager=None
        if manager is None
        else models.ManagerView(**{name: manager[name] for name in models.ManagerView.model_fields}),
    )
