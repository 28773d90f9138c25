"""Labs, their hosts and their networks."""

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
    recorded = lab.record.get("networks", {})
    networks = [
        models.NetworkView(
            name=name,
            medium=recorded.get(name, asked)["medium"],
            rate_mbps=recorded.get(name, asked)["rate_mbps"],
            mtu=recorded.get(name, asked)["mtu"],
            ports=len(recorded.get(name, {}).get("ports", ())),
        )
        for name, asked in lab.topology["networks"].items()
    ]
    return models.LabView(
        name=lab.name,
        state=lab.state,  # type: ignore[arg-type]
        message=lab.message,
        run=lab.run,
        created=lab.created,
        hosts=list(lab.topology["hosts"]),
        networks=networks,
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
    lab = request.app[LABS].destroy(request.match_info["lab"])
    return web.Response(status=204) if lab is None else reply(lab_view(lab), 202, location(lab))


async def get_host(request: web.Request) -> web.Response:
    """One host of a lab."""
    lab, host = request.match_info["lab"], request.match_info["host"]
    recorded = request.app[LABS].host(lab, host)
    return reply(
        models.HostView(
            name=host,
            lab=lab,
            namespace=recorded["namespace"],
            cpus=recorded.get("cpus"),
            interfaces=[_interface(interface) for interface in recorded["interfaces"]],
            agent=models.HostAgentView.model_validate(
                request.app[LABS].find(lab).agents.get(host, {"state": "none", "message": ""})
            ),
        )
    )


def _interface(recorded: dict[str, Any]) -> models.InterfaceView:
    return models.InterfaceView(**{name: recorded[name] for name in models.InterfaceView.model_fields})


async def get_counters(request: web.Request) -> web.Response:
    """A host's counters."""
    lab, host = request.match_info["lab"], request.match_info["host"]
    request.app[LABS].host(lab, host)
    counters = await request.app[MACHINE].client.host_counters(lab, host)
    return reply(models.CountersView(counters=counters))


async def get_metrics(request: web.Request) -> web.Response:
    """A host's metrics, read through its machine agent from shared memory."""
    lab, host = request.match_info["lab"], request.match_info["host"]
    request.app[LABS].host(lab, host)
    text = await request.app[MACHINE].client.metrics(lab, host)
    return web.Response(
        body=text.encode(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
    )


async def exec_in_host(request: web.Request) -> web.Response:
    """Run a command in a host, without a shell, for at most 30 s."""
    lab, host = request.match_info["lab"], request.match_info["host"]
    body = await read_body(request, models.ExecRequest)
    if any("\0" in argument for argument in body.argv):
        raise Problem(422, "argv: an argument contains a zero byte", "argv")
    request.app[LABS].host(lab, host)
    return reply(validated(models.ExecView, await request.app[MACHINE].client.exec(lab, host, body.argv)))


async def get_network(request: web.Request) -> web.Response:
    """One network of a lab."""
    return reply(_network(request.app[LABS].find(request.match_info["lab"]), request.match_info["network"]))


async def put_network(request: web.Request) -> web.Response:
    """Replace a network's rate, without a gap."""
    network = request.match_info["network"]
    body = await read_body(request, models.RateRequest)
    lab = await request.app[LABS].set_network(request.match_info["lab"], network, body.rate_mbps)
    return reply(_network(lab, network))


def _network(lab: Lab, name: str) -> models.NetworkView:
    for network in lab_view(lab).networks:
        if network.name == name:
            return network
    raise Problem(404, f"the lab {lab.name!r} has no network {name!r}", "network")
