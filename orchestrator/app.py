"""The orchestrator as an aiohttp application: its parts, started and stopped in order, and its routes."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Protocol

from aiohttp import web

from agents.problems import BODY_LIMIT, problem_middleware
from orchestrator.access import Access
from orchestrator.api.docs_page import page
from orchestrator.api.guards import guard
from orchestrator.api.openapi import describe
from orchestrator.api.problems import store_problems
from orchestrator.api.table import BASE, ROUTES
from orchestrator.events import EventBus
from orchestrator.grafana import Annotator, Grafana, writer
from orchestrator.labs import Labs
from orchestrator.live import Live
from orchestrator.metrics import Counts
from orchestrator.recovery import going_on
from orchestrator.runs import Runs, settle
from orchestrator.services import (
    CATALOGUE,
    COUNTS,
    EVENTS,
    LABS,
    LIVE,
    MACHINE,
    RUNS,
    STATE,
    STORE,
    Catalogue,
    MachineDescription,
)
from orchestrator.store import Store, interrupted
from orchestrator.web import FILES, add_page

LOCAL = Access()


class Keeper(MachineDescription, Protocol):
    """A machine whose agent is started, watched and stopped with the application."""

    on_death: Callable[[str], None]

    async def start(self) -> None:
        """Start the agent; raises if it cannot be."""
        ...

    async def watch(self) -> None:
        """Start it again whenever it dies, until cancelled."""
        ...

    async def close(self) -> None:
        """Stop it."""
        ...


def create_app(
    state: Path,
    keep: Callable[[EventBus], Keeper],
    catalogue: Catalogue,
    access: Access = LOCAL,
    lasting: bool = True,
    grafana: Grafana | None = None,
) -> web.Application:
    """An orchestrator with its results in `state`, which the caller holds the lock of. One that is not
    `lasting` serves one client, and leaves nothing for others to go on with. `grafana` hears what happens."""
    counts = Counts()
    app = web.Application(
        client_max_size=BODY_LIMIT,
        middlewares=[counts.count, problem_middleware, *guard(access, public=FILES), store_problems],
    )
    events = EventBus()
    machine = keep(events)
    app[COUNTS] = counts
    app[STATE] = state
    app[EVENTS] = events
    app[MACHINE] = machine
    app[CATALOGUE] = catalogue
    app[LABS] = Labs(machine, events)
    app[LIVE] = Live(app[LABS], machine, events)

    async def store(app: web.Application) -> AsyncIterator[None]:
        app[STORE] = await Store.open(state, going_on(catalogue) if lasting else interrupted)
        yield
        await app[STORE].close()

    async def machine_agent(app: web.Application) -> AsyncIterator[None]:
        await machine.start()
        watcher = asyncio.create_task(machine.watch(), name="watch the machine agent")
        follower = asyncio.create_task(app[LABS].follow_agents(), name="follow the host agents")
        yield
        await settle(follower)
        await settle(watcher)
        await machine.close()

    async def labs(app: web.Application) -> AsyncIterator[None]:
        yield
        await app[LABS].destroy_all()

    async def runs(app: web.Application) -> AsyncIterator[None]:
        app[RUNS] = Runs(app[STORE], app[LABS], machine, catalogue, events, lasting)
        app[RUNS].on_trial = counts.trial
        await app[RUNS].take_up()
        worker = asyncio.create_task(app[RUNS].work(), name="runs")

        def machine_died(message: str) -> None:
            app[RUNS].interrupt("failed", message)
            app[LABS].lost(message)

        machine.on_death = machine_died
        yield
        await app[RUNS].close()
        await worker

    async def annotations(app: web.Application) -> AsyncIterator[None]:
        if grafana is None:
            yield
            return
        annotator = Annotator(grafana.url, partial(writer, grafana))
        events.listen(annotator.hear)
        yield
        await asyncio.to_thread(annotator.close)

    # The first begins first and ends last: so also the end of labs and runs is annotated.
    app.cleanup_ctx.extend([annotations, store, machine_agent, labs, runs])

    async def tell_followers(app: web.Application) -> None:
        # Runs end before the connections do, so that those who follow them hear how.
        await app[RUNS].close()
        events.close()

    app.on_shutdown.append(tell_followers)
    _add_routes(app)
    return app


def _add_routes(app: web.Application) -> None:
    for route in ROUTES:
        app.router.add_route(route.method, route.path, route.handler)
    description = json.dumps(describe(ROUTES)).encode()
    html = page(ROUTES)

    async def get_openapi(request: web.Request) -> web.Response:
        return web.Response(body=description, content_type="application/json")

    async def get_docs(request: web.Request) -> web.Response:
        return web.Response(text=html, content_type="text/html")

    app.router.add_get(f"{BASE}/openapi.json", get_openapi)
    app.router.add_get("/docs", get_docs)
    add_page(app)
