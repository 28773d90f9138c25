"""Server-sent events: what happens, as it happens."""

import json
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from orchestrator.api.models import RUN_PATTERN
from orchestrator.api.problems import validated
from orchestrator.api.run_routes import run_view
from orchestrator.services import EVENTS, RUNS

HEARTBEAT_S = 5.0
"""Seconds of silence after which a comment is sent, so that both sides notice a dead connection."""
HEADERS = {"Content-Type": "text/event-stream", "Cache-Control": "no-store"}


class EventQuery(BaseModel):
    """Which events."""

    model_config = ConfigDict(extra="forbid")
    run: str | None = Field(default=None, pattern=RUN_PATTERN, description="only those of this run")


async def follow_events(request: web.Request) -> web.StreamResponse:
    """Events from now on, or from `Last-Event-ID` on; with `run`, first how that run is."""
    run_id = validated(EventQuery, dict(request.query)).run
    bus = request.app[EVENTS]
    last_seen = request.headers.get("Last-Event-ID")
    at = bus.last if last_seen is None else bus.number_of(last_seen)
    opening = b""
    if at is None:
        # Of another process, or nonsense: what was missed is not known, so the client must read anew.
        at = bus.last
        opening = frame("gap", {"message": "events were missed; read the state again"})
    if run_id is not None:
        run = await request.app[RUNS].find(run_id)
        opening += frame("run", _snapshot(request, run_view(request, run).model_dump()))
    response = web.StreamResponse(headers=HEADERS)
    await response.prepare(request)
    try:
        await response.write(opening or b": connected\n\n")
        while True:
            missed, events = bus.since(at)
            if missed:
                await response.write(frame("gap", {"message": "events were missed; read the state again"}))
            for event in events:
                at = event.number
                if run_id is None or event.run == run_id:
                    await response.write(frame(event.kind, event.data, bus.label(event)))
            if bus.closed:
                break
            if not await bus.wait_beyond(at, HEARTBEAT_S):
                await response.write(b": heartbeat\n\n")
    except ConnectionResetError:
        pass  # the client went away, which is how following ends
    return response


def _snapshot(request: web.Request, view: dict[str, Any]) -> dict[str, Any]:
    return {"run": view["id"], **{name: view[name] for name in ("state", "message", "verdict", "progress")}}


def frame(kind: str, data: dict[str, Any], label: str | None = None) -> bytes:
    """An event as it is sent."""
    return (f"id: {label}\n".encode() if label else b"") + encoded(kind, json.dumps(data).encode())


def encoded(kind: str, data: bytes) -> bytes:
    """The same of data that is JSON already."""
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)
