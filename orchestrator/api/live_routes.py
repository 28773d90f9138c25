"""The live feed, as server-sent events."""

import asyncio
from contextlib import suppress

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from agents.errors import Problem
from orchestrator.api import event_routes
from orchestrator.api.event_routes import encoded, frame
from orchestrator.api.problems import validated
from orchestrator.live import Ended
from orchestrator.services import LIVE

FIRST_S = 60.0
"""Seconds allowed to the first sample."""
STALLED_S = 60.0
"""Seconds in which a reader must take something of what is sent, or it is given up."""


class LiveQuery(BaseModel):
    """How often."""

    model_config = ConfigDict(extra="forbid")
    every_s: float = Field(
        default=0.5, ge=0.1, le=60, allow_inf_nan=False, description="seconds from one sample to the next"
    )


async def follow_lab(request: web.Request) -> web.StreamResponse:
    """A lab as it is now, at once and then every `every_s` seconds, until it is destroyed."""
    name, every_s = request.match_info["lab"], validated(LiveQuery, dict(request.query)).every_s
    async with request.app[LIVE].sampler(name, every_s) as sampler:
        try:
            new = await sampler.after(0, FIRST_S)
        except Ended:
            raise Problem(409, f"the lab {name!r} has just ended", "lab") from None
        if new is None:
            raise Problem(503, f"the machine agent did not say within {FIRST_S:.0f} s how {name!r} is")
        response = web.StreamResponse(headers=event_routes.HEADERS)
        await response.prepare(request)
        try:
            seen = 0
            while True:
                if new is not None:
                    seen = new[0]
                await _write(response, b": heartbeat\n\n" if new is None else encoded("sample", new[1]))
                new = await sampler.after(seen, event_routes.HEARTBEAT_S)
        except Ended as end:
            if end.state is not None:
                with suppress(TimeoutError, ConnectionResetError):  # who has left hears nothing
                    await _write(response, frame("lab", {"lab": name, "state": end.state}))
        except (TimeoutError, Problem):
            # A stream that is cut has no end as it should have one, and is asked for again.
            if request.transport is not None:
                request.transport.abort()
        except ConnectionResetError:
            pass  # the reader went away, which is how reading ends
        return response


async def _write(response: web.StreamResponse, data: bytes) -> None:
    """Raises TimeoutError when the reader does not read, ConnectionResetError when it is gone."""
    async with asyncio.timeout(STALLED_S):
        await response.write(data)
