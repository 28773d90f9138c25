"""Changes to a lab that stands: another topology, a network's rate and impairments, cuts, stopped hosts."""

from aiohttp import web

from orchestrator.api.change_models import ApplyQuery, ApplyRequest, ChangesView, ChangeView, NetworkRequest
from orchestrator.api.lab_routes import host_view, interface_view, lab_view, location, network_view
from orchestrator.api.problems import read_body, validated
from orchestrator.api.routing import reply
from orchestrator.services import LABS
from orchestrator.shipped import resolve


async def apply_topology(request: web.Request) -> web.Response:
    """Make a lab what another topology says; with `dry_run`, say what that would change."""
    dry_run = validated(ApplyQuery, dict(request.query)).dry_run
    name = request.match_info["lab"]
    topology = await resolve((await read_body(request, ApplyRequest)).topology)
    if dry_run:
        found = await request.app[LABS].difference(name, topology)
        return reply(ChangesView(lab=name, changes=[ChangeView(**change) for change in found]))
    lab = request.app[LABS].apply(name, topology)
    return reply(lab_view(lab), 202, location(lab))


async def put_network(request: web.Request) -> web.Response:
    """Replace a network's rate and impairments, without a gap."""
    network = request.match_info["network"]
    body = await read_body(request, NetworkRequest)
    labs = request.app[LABS]
    lab = await labs.set_network(request.match_info["lab"], network, body.rate_mbps, body.impairments())
    return reply(network_view(lab, network))


async def cut_network(request: web.Request) -> web.Response:
    """Cut a network: nothing enters or leaves it; what is lost is counted."""
    return await _cut_network(request, True)


async def heal_network(request: web.Request) -> web.Response:
    """Heal a network that was cut; links of single hosts stay cut."""
    return await _cut_network(request, False)


async def cut_link(request: web.Request) -> web.Response:
    """Cut a host's link to a network; what is lost is counted."""
    return await _cut_link(request, True)


async def heal_link(request: web.Request) -> web.Response:
    """Heal a host's link to a network."""
    return await _cut_link(request, False)


async def stop_host(request: web.Request) -> web.Response:
    """Stop a host: its processes end, and nothing passes its interfaces."""
    return await _switch(request, False)


async def start_host(request: web.Request) -> web.Response:
    """Start a host that was stopped; nothing runs on it."""
    return await _switch(request, True)


async def _cut_network(request: web.Request, cut: bool) -> web.Response:
    name = request.match_info["network"]
    lab = await request.app[LABS].cut(request.match_info["lab"], name, None, cut)
    return reply(network_view(lab, name))


async def _cut_link(request: web.Request, cut: bool) -> web.Response:
    named, labs = request.match_info, request.app[LABS]
    lab = await labs.cut(named["lab"], named["network"], named["host"], cut)
    return reply(interface_view(lab, labs.interface(lab.name, named["host"], named["network"])))


async def _switch(request: web.Request, on: bool) -> web.Response:
    host, labs = request.match_info["host"], request.app[LABS]
    lab = await labs.switch(request.match_info["lab"], host, on)
    return reply(host_view(lab, host, labs.host(lab.name, host)))
