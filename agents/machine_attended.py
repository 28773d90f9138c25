"""Captures, consoles and pictures over the machine agent's HTTP interface."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import urlencode

from aiohttp import WSMsgType, web
from pydantic import BaseModel, ValidationError

from agents.attendants import CHUNK, Process
from agents.errors import Problem, not_found
from agents.machine_hosts import unused
from agents.machine_labs import Lab, Labs
from agents.pictures import picture_of, picture_response
from agents.problems import invalid
from agents.processes import tail_of
from agents.requests import Capture, Console, HostSetup, TerminalSize
from agents.tasks import until_one_ends
from agents.terminal import Terminal
from agents.transport import path_of

PCAPNG = "application/x-pcapng"
LOOK_S = 1.0
"""How often it is looked whether the client of a silent capture is still there."""
PICTURE_S = 90.0
"""Seconds a host agent may take: it makes one picture after the other."""
MESSAGE_LIMIT = 64 << 10
"""Bytes in one message to a console."""

Model = TypeVar("Model", bound=BaseModel)


class Attended:
    """Routes of the machine agent over its `labs`."""

    def __init__(self, labs: Labs) -> None:
        self._labs = labs

    def routes(self) -> list[web.RouteDef]:
        """Those of captures, consoles and pictures."""
        host = "/labs/{lab}/hosts/{host}"
        return [
            web.get(f"{host}/interfaces/{{interface}}/capture", self._capture_host),
            web.get("/labs/{lab}/networks/{network}/capture", self._capture_network),
            web.get(f"{host}/console", self._console),
            web.get(f"{host}/workloads/{{id}}/picture", self._picture),
        ]

    async def _capture_host(self, request: web.Request) -> web.StreamResponse:
        lab, name = self._labs.get(request.match_info["lab"]), request.match_info["interface"]
        host = request.match_info["host"]
        setup = _present(lab, host)
        if name not in [one["name"] for one in setup.interfaces]:
            raise not_found("interface", name, f"host {host!r} of lab {lab.name!r}")
        asked = _checked(
            Capture,
            {**request.query, "interface": name, "description": f"{host} {name} of lab {lab.name}"},
        )
        return await _capture(request, lab, setup.namespace.name, setup.cgroup, asked)

    async def _capture_network(self, request: web.Request) -> web.StreamResponse:
        lab, name = self._labs.get(request.match_info["lab"]), request.match_info["network"]
        assert lab.record is not None
        if name not in lab.record.networks:
            raise not_found("network", name, f"lab {lab.name!r}")
        bridge = lab.record.networks[name].bridge
        asked = _checked(
            Capture,
            {**request.query, "interface": bridge, "description": f"network {name} of lab {lab.name}"},
        )
        return await _capture(request, lab, lab.record.namespace, None, asked)

    async def _console(self, request: web.Request) -> web.StreamResponse:
        lab, host = self._labs.get(request.match_info["lab"]), request.match_info["host"]
        setup = _present(lab, host)
        given = dict(request.query)
        size = _checked(
            TerminalSize, {name: given.pop(name) for name in list(given) if name in TerminalSize.model_fields}
        )
        asked = _checked(Console, given)
        lab.attendants.check_room()
        socket = web.WebSocketResponse(max_msg_size=MESSAGE_LIMIT)
        if not socket.can_prepare(request).ok:
            raise Problem(400, "a console is a WebSocket; this request does not ask for one", "Upgrade")
        terminal = Terminal(size.rows, size.columns)
        try:
            async with lab.attendants.start(
                "agents.console",
                setup.namespace.name,
                setup.cgroup,
                f"{host}.{lab.name}",
                asked,
                terminal.inner,
            ) as process:
                terminal.close_inner()
                await socket.prepare(request)
                await _converse(socket, terminal, process)
        finally:
            terminal.close()
        return socket

    async def _picture(self, request: web.Request) -> web.Response:
        link = self._labs.get(request.match_info["lab"]).link(request.match_info["host"])
        workload = request.match_info["id"]
        if link.state == "none":
            raise unused(link, workload)
        path = path_of("workloads", workload, "picture")
        answer = await link.answer("GET", f"{path}?{urlencode(request.query)}", timeout_s=PICTURE_S)
        return picture_response(picture_of(answer.content, answer.headers))


def _present(lab: Lab, host: str) -> HostSetup:
    """Where a host that is not stopped is. Raises `Problem` 404, 409."""
    link = lab.link(host)
    if link.state == "stopped":
        raise Problem(409, link.message, "host")
    return link.setup


def _checked(model: type[Model], values: Mapping[str, str]) -> Model:
    """A model from a query's words. Raises `Problem` 422."""
    try:
        return model.model_validate(dict(values), strict=False)
    except ValidationError as error:
        raise invalid(error) from None


async def _capture(
    request: web.Request, lab: Lab, namespace: str, cgroup: str | None, asked: Capture
) -> web.StreamResponse:
    async with lab.attendants.start(
        "agents.capture", namespace, cgroup, lab.name, asked, subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        data = await process.stdout.read(CHUNK)
        if not data:
            words = tail_of(await process.stderr.read(4096))
            raise Problem(502, f"the capture of {asked.description} did not start{words}")
        response = web.StreamResponse(headers={"Content-Type": PCAPNG, "Cache-Control": "no-store"})
        await response.prepare(request)
        try:
            while data:
                await response.write(data)
                data = await _more(request, process)
            await response.write_eof()
        except ConnectionResetError:
            pass  # the client went away, which is how most captures end
        return response


async def _more(request: web.Request, process: Process) -> bytes:
    """What the capture writes next; empty at its end. Raises `ConnectionResetError` when nobody is there for
    it."""
    assert process.stdout is not None
    while True:
        try:
            return await asyncio.wait_for(process.stdout.read(CHUNK), LOOK_S)
        except TimeoutError:
            if request.transport is None or request.transport.is_closing():
                raise ConnectionResetError from None


async def _converse(socket: web.WebSocketResponse, terminal: Terminal, process: Process) -> None:
    """Carries what is typed in and what is shown out, until either side or the shell ends."""
    await until_one_ends(_show(socket, terminal), _type(socket, terminal), process.wait())
    if process.returncode is None and not socket.closed:
        # The shell has closed its terminal, which is the last thing that it does.
        await asyncio.wait([asyncio.ensure_future(process.wait())], timeout=LOOK_S)
    if not socket.closed:
        await socket.send_bytes(terminal.read_rest())
        await socket.send_str(json.dumps({"exit": process.returncode}))
        await socket.close()


async def _show(socket: web.WebSocketResponse, terminal: Terminal) -> None:
    while data := await terminal.read():
        await socket.send_bytes(data)


async def _type(socket: web.WebSocketResponse, terminal: Terminal) -> None:
    async for message in socket:
        if message.type == WSMsgType.BINARY:
            await terminal.write(message.data)
        elif message.type == WSMsgType.TEXT:
            try:
                size = TerminalSize.model_validate_json(message.data)
            except ValidationError:
                await socket.close(code=1008, message=b'text is {"rows": 24, "columns": 80}')
                return
            terminal.resize(size.rows, size.columns)
