"""Metrics for Prometheus, and where it finds them."""

from aiohttp import web

from agents.families import CONTENT_TYPE
from orchestrator.api import models
from orchestrator.metrics import render
from orchestrator.services import COUNTS, LABS, MACHINE, RUNS, STORE


async def get_metrics(request: web.Request) -> web.Response:
    """The metrics of the orchestrator itself: labs, runs, trials, requests, processes."""
    app = request.app
    states = [lab.state for lab in app[LABS].all()]
    run = app[RUNS].running
    running = None if run is None else (run, app[RUNS].progress(run.id))
    text = await render(app[COUNTS], states, await app[STORE].states(), app[MACHINE].describe(), running)
    return _page(text)


async def get_lab_metrics(request: web.Request) -> web.Response:
    """The metrics of all hosts and networks of a lab."""
    lab = request.app[LABS].ready(request.match_info["lab"])
    return _page(await request.app[MACHINE].client.lab_metrics(lab.name))


async def get_host_metrics(request: web.Request) -> web.Response:
    """A host's metrics, read through its machine agent from shared memory."""
    lab, host = request.match_info["lab"], request.match_info["host"]
    request.app[LABS].host(lab, host)
    return _page(await request.app[MACHINE].client.metrics(lab, host))


async def prometheus_targets(request: web.Request) -> web.Response:
    """The metrics of every lab, as Prometheus' http_sd wants them."""
    targets = [
        models.ScrapeTarget(
            targets=[request.host],
            labels={"__metrics_path__": f"/api/v1/labs/{lab.name}/metrics", "lab": lab.name},
        )
        for lab in request.app[LABS].all()
        if lab.state == "ready"
    ]
    return web.json_response([target.model_dump() for target in targets])


def _page(text: bytes) -> web.Response:
    return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE})
