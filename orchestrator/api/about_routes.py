"""What there is: experiments, systems, topologies, machines, health."""

import asyncio
import os

from aiohttp import web

from orchestrator import VERSION
from orchestrator.api import models
from orchestrator.api.routing import reply
from orchestrator.experiments.own import SCHEMA_FILE
from orchestrator.services import CATALOGUE, MACHINE, RUNS, STATE
from orchestrator.shipped import shipped_topologies


async def list_experiments(request: web.Request) -> web.Response:
    """All experiments, with what was published."""
    known = [models.ExperimentView(**entry) for entry in request.app[CATALOGUE].experiments()]
    return reply(models.ExperimentList(experiments=known))


async def get_experiment_schema(request: web.Request) -> web.Response:
    """The JSON Schema of an experiment that a user writes."""
    body = await asyncio.to_thread(SCHEMA_FILE.read_bytes)
    return web.Response(body=body, content_type="application/schema+json")


async def list_systems(request: web.Request) -> web.Response:
    """All I/O systems."""
    return reply(
        models.SystemList(systems=[models.SystemView(**e) for e in request.app[CATALOGUE].systems()])
    )


async def list_topologies(request: web.Request) -> web.Response:
    """All shipped topologies."""
    return reply(
        models.TopologyList(topologies=[models.TopologyView(**e) for e in await shipped_topologies()])
    )


async def list_machines(request: web.Request) -> web.Response:
    """All machines."""
    return reply(models.MachineList(machines=[models.MachineView(**request.app[MACHINE].describe())]))


async def get_health(request: web.Request) -> web.Response:
    """Whether this is Transship, and how it is."""
    machine = models.MachineView(**request.app[MACHINE].describe())
    runs = request.app[RUNS]
    return reply(
        models.HealthView(
            version=VERSION,
            status="ok" if machine.state == "up" else "degraded",
            pid=os.getpid(),
            state=str(request.app[STATE]),
            machine=machine,
            running=runs.running.id if runs.running else None,
            queued=runs.queued,
        )
    )
