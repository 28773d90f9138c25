"""Looking into a running lab: packets, consoles and what displays show."""

import asyncio
from typing import Any

from aiohttp import WSMsgType, web
from pydantic import BaseModel, ConfigDict, Field

from agents.client import Conversation, Place
from agents.errors import AgentError, Problem
from agents.pictures import picture_response
from agents.problems import MOST_PIXELS
from agents.requests import MIN_SNAPLEN, SNAPLEN
from agents.tasks import until_one_ends
from agents.transport import MESSAGE_LIMIT
from orchestrator.api.problems import validated
from orchestrator.services import LABS, MACHINE

PCAPNG = "application/x-pcapng"
HEARTBEAT_S = 30.0
"""Seconds between two pings to the client of a console, so that one that vanished is noticed."""


class CaptureQuery(BaseModel):
    """How much to capture."""

    model_config = ConfigDict(extra="forbid")
    limit: int | None = Field(
        default=None, ge=1, le=2**53, description="frames; without it, until the client closes"
    )
    snaplen: int = Field(
        default=SNAPLEN, ge=MIN_SNAPLEN, le=SNAPLEN, description="bytes to keep of each frame, at most"
    )


class ConsoleQuery(BaseModel):
    """The terminal that the client has."""

    model_config = ConfigDict(extra="forbid")
    rows: int = Field(default=24, ge=1, le=1000)
    columns: int = Field(default=80, ge=1, le=1000)
    terminal: str = Field(default="xterm-256color", pattern=r"^[A-Za-z0-9][A-Za-z0-9.+-]{0,31}$")


class PictureQuery(BaseModel):
    """How large a picture."""

    model_config = ConfigDict(extra="forbid")
    width: int | None = Field(
        default=None,
        ge=1,
        le=MOST_PIXELS,
        description="at most so wide: of the frame's pixels and rows every second, third, ... is kept",
    )


async def get_picture(request: web.Request) -> web.Response:
    """What a display shows now; the header `Transship-Frame` has the frame's number."""
    lab, host = request.match_info["lab"], request.match_info["host"]
    width = validated(PictureQuery, dict(request.query)).width
    request.app[LABS].host(lab, host)
    machine = request.app[MACHINE].client
    return picture_response(await machine.picture(lab, host, request.match_info["workload"], width))


async def capture_interface(request: web.Request) -> web.StreamResponse:
    """Capture the frames of a host's interface, as pcapng, until the client closes or `limit`."""
    lab, host, name = (request.match_info[part] for part in ("lab", "host", "interface"))
    names = [one["name"] for one in request.app[LABS].host_to_use(lab, host)["interfaces"]]
    if name not in names:
        known = ", ".join(names) or "none"
        raise Problem(404, f"the host {host!r} has no interface {name!r}; it has {known}", "interface")
    return await _capture(request, lab, ("hosts", host, "interfaces", name))


async def capture_network(request: web.Request) -> web.StreamResponse:
    """Capture the frames that cross a network, as pcapng, until the client closes or `limit`."""
    lab, name = request.match_info["lab"], request.match_info["network"]
    networks = request.app[LABS].to_use(lab).record.get("networks", {})
    if name not in networks:
        known = ", ".join(networks) or "none"
        raise Problem(404, f"the lab {lab!r} has no network {name!r}; it has {known}", "network")
    return await _capture(request, lab, ("networks", name))


async def _capture(request: web.Request, lab: str, place: Place) -> web.StreamResponse:
    asked = validated(CaptureQuery, dict(request.query))
    response = web.StreamResponse(headers={"Content-Type": PCAPNG, "Cache-Control": "no-store"})
    async with request.app[MACHINE].client.capture(lab, place, asked.limit, asked.snaplen) as stream:
        await response.prepare(request)
        try:
            await _pass_on(request, response, stream)
        except (ConnectionResetError, AgentError):
            # The client went away, or the agent. Without the end that it should have, a stream
            # is seen to be cut.
            if request.transport is not None:
                request.transport.close()
    return response


async def _pass_on(request: web.Request, response: web.StreamResponse, stream: Any) -> None:
    """What comes from the stream goes to the client; ends early when that closes, even in silence."""
    following: asyncio.Task[bytes | None] | None = None
    try:
        while True:
            following = asyncio.ensure_future(anext(stream, None))
            while not (await asyncio.wait([following], timeout=1.0))[0]:
                if request.transport is None or request.transport.is_closing():
                    return
            data = following.result()
            if data is None:
                await response.write_eof()
                return
            await response.write(data)
    finally:
        if following is not None and not following.done():
            following.cancel()
            await asyncio.wait([following])


async def open_console(request: web.Request) -> web.StreamResponse:
    """A login shell on a host, as a WebSocket: bytes are the terminal's, text is {"rows", "columns"},
    {"exit"}."""
    lab, host = request.match_info["lab"], request.match_info["host"]
    asked = validated(ConsoleQuery, dict(request.query))
    request.app[LABS].host_to_use(lab, host)
    socket = web.WebSocketResponse(heartbeat=HEARTBEAT_S, max_msg_size=MESSAGE_LIMIT)
    if not socket.can_prepare(request).ok:
        raise Problem(400, "a console is a WebSocket; this request does not ask for one", "Upgrade")
    options = {name: str(value) for name, value in asked.model_dump().items()}
    async with request.app[MACHINE].client.console(lab, host, options) as agent:
        await socket.prepare(request)
        await until_one_ends(_in(socket, agent), _out(socket, agent))
        await socket.close()
    return socket


async def _in(socket: web.WebSocketResponse, agent: Conversation) -> None:
    async for message in socket:
        if message.type in (WSMsgType.BINARY, WSMsgType.TEXT):
            await agent.send(message.data)


async def _out(socket: web.WebSocketResponse, agent: Conversation) -> None:
    while (data := await agent.receive()) is not None:
        await (socket.send_bytes(data) if isinstance(data, bytes) else socket.send_str(data))
