"""Labs, their hosts and their networks."""

import re
from typing import Any

from aiohttp import web

from agents.errors import Problem
from orchestrator.api import models
from orchestrator.api.problems import read_body, validated
from orchestrator.api.routing import reply
from orchestrator.labs import Lab
from orchestrator.services import LABS, MACHINE
from orchestrator.shipped import resolve


def lab_view(lab: Lab) -> models.LabView:
    """A lab for REST: the topology as asked for, with the values the machine filled in once deployed."""
    networks = lab.record.get("networks") or lab.topology["networks"]
    return models.LabView(
        name=lab.name,
        state=lab.state,  # type: ignore[arg-type]
        message=lab.message,
        run=lab.run,
        created=lab.created,
        hosts=list(lab.topology["hosts"]),
        networks=[network_view(lab, name) for name in networks],
        topology=lab.topology,
        steering=lab.record.get("steering", {}),
    )


def location(lab: Lab) -> dict[str, str]:
    """The header that says where to follow the lab."""
    return {"Location": f"/api/v1/labs/{lab.name}"}


async def list_labs(request: web.Request) -> web.Response:
    """All labs."""
    return reply(models.LabList(labs=[lab_view(lab) for lab in request.app[LABS].all()]))


async def create_lab(request: web.Request) -> web.Response:
    """Deploy a lab; the same again is a no-op."""
    body = await read_body(request, models.LabRequest)
    lab = request.app[LABS].create(body.name, await resolve(body.topology))
    return reply(lab_view(lab), 200 if lab.state == "ready" else 202, location(lab))


async def get_lab(request: web.Request) -> web.Response:
    """One lab."""
    return reply(lab_view(request.app[LABS].find(request.match_info["lab"])))


async def destroy_lab(request: web.Request) -> web.Response:
    """Destroy a lab; a lab that is not there is destroyed already."""
    name = request.match_info["lab"]
    if not re.fullmatch(models.NAME_PATTERN, name):
        raise Problem(404, f"no lab can have the name {name[:60]!r}", "lab")
    lab = request.app[LABS].destroy(name)
    if lab is not None:
        return reply(lab_view(lab), 202, location(lab))
    # A lab of a dead machine agent, that the next one could not destroy when it began, nobody else knows.
    await request.app[MACHINE].client.destroy(name)
    return web.Response(status=204)


async def get_host(request: web.Request) -> web.Response:
    """One host of a lab."""
    labs, host = request.app[LABS], request.match_info["host"]
    recorded = labs.host(request.match_info["lab"], host)
    return reply(host_view(labs.find(request.match_info["lab"]), host, recorded))


def host_view(lab: Lab, name: str, recorded: dict[str, Any]) -> models.HostView:
    """A host for REST."""
    return models.HostView(
        name=name,
        lab=lab.name,
        state="stopped" if recorded["stopped"] else "running",
        namespace=recorded["namespace"],
        cpus=recorded.get("cpus"),
        interfaces=[interface_view(lab, interface) for interface in recorded["interfaces"]],
        agent=models.HostAgentView.model_validate(lab.agents.get(name, {"state": "none", "message": ""})),
    )


def interface_view(lab: Lab, recorded: dict[str, Any]) -> models.InterfaceView:
    """A host's interface for REST."""
    ports = lab.record["networks"][recorded["network"]]["port_details"]
    cut = any(port["cut"] for port in ports if port["name"] == recorded["peer"])
    named = {name: recorded[name] for name in ("name", "network", "mac", "address", "prefix", "mtu")}
    return models.InterfaceView(**named, port=recorded["peer"], cut=cut)


async def get_counters(request: web.Request) -> web.Response:
    """A host's counters."""
    lab, host = request.match_info["lab"], request.match_info["host"]
    request.app[LABS].host(lab, host)
    counters = await request.app[MACHINE].client.host_counters(lab, host)
    return reply(models.CountersView(counters=counters))


async def exec_in_host(request: web.Request) -> web.Response:
    """Run a command in a host, without a shell, for at most 30 s."""
    lab, host = request.match_info["lab"], request.match_info["host"]
    body = await read_body(request, models.ExecRequest)
    if any("\0" in argument for argument in body.argv):
        raise Problem(422, "argv: an argument contains a zero byte", "argv")
    request.app[LABS].host_to_use(lab, host)
    return reply(validated(models.ExecView, await request.app[MACHINE].client.exec(lab, host, body.argv)))


async def get_network(request: web.Request) -> web.Response:
    """One network of a lab."""
    lab, name = request.app[LABS].find(request.match_info["lab"]), request.match_info["network"]
    if name not in (lab.record.get("networks") or lab.topology["networks"]):
        raise Problem(404, f"the lab {lab.name!r} has no network {name!r}", "network")
    return reply(network_view(lab, name))


async def get_network_counters(request: web.Request) -> web.Response:
    """A network's counters, by port or device: frames, bytes, drops by name, what waits."""
    labs, name = request.app[LABS], request.match_info["network"]
    lab = labs.with_network(request.match_info["lab"], name)
    found = await request.app[MACHINE].client.counters(lab.name)
    own = {
        place.removeprefix(f"{name}."): value
        for place, value in found.items()
        if place.startswith(f"{name}.")
    }
    return reply(models.CountersView(counters=own))


def network_view(lab: Lab, name: str) -> models.NetworkView:
    """A network for REST: with the values the machine filled in, once it is deployed."""
    recorded = lab.record.get("networks", {}).get(name)
    known = recorded or lab.topology["networks"][name]
    impairments = recorded["impairments"] if recorded else known
    return models.NetworkView(
        name=name,
        **{field: known[field] for field in ("medium", "rate_mbps", "mtu")},
        **{field: impairments[field] for field in ("loss", "seed", "delay_ms", "jitter_ms")},
        cut=bool(recorded and recorded["cut"]),
        ports=len(recorded["ports"]) if recorded else 0,
    )
