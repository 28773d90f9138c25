"""This terminal as the terminal of a console: raw, with its size, until the shell ends or Ctrl-] is typed."""

import asyncio
import json
import os
import signal
import sys
import termios
import tty
from contextlib import suppress
from urllib.parse import urlencode

import aiohttp

from orchestrator.cli.client import Server, ServerGone

ESCAPE = b"\x1d"
"""Ctrl-]: leaves a console whose shell does not answer."""
CHUNK = 4096


def converse(server: Server, path: str) -> int | None:
    """The shell's exit status; None when the console ended without one. Raises ServerGone."""
    attributes = termios.tcgetattr(sys.stdin)
    try:
        tty.setraw(sys.stdin)
        return asyncio.run(_converse(server, path))
    except aiohttp.WSServerHandshakeError as error:
        server.request("GET", path)  # is refused for the same reason, and says which
        raise ServerGone(f"no console at {server.address}: {error.message}") from error
    except (aiohttp.ClientError, OSError) as error:
        raise ServerGone(f"no console at {server.address}: {error}") from error
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, attributes)
        print(file=sys.stderr)


async def _converse(server: Server, path: str) -> int | None:
    options = {**_size(), "terminal": os.environ.get("TERM", "dumb")}
    base, connector = server.address, None
    if base.startswith("unix:"):
        base, connector = "http://localhost", aiohttp.UnixConnector(base[5:])
    async with (
        aiohttp.ClientSession(connector=connector, headers=server.headers) as session,
        session.ws_connect(f"{base}{path}?{urlencode(options)}") as socket,
    ):
        asyncio.get_running_loop().add_signal_handler(signal.SIGWINCH, _resize, socket)
        typing = asyncio.create_task(_type(socket))
        try:
            async for message in socket:
                if message.type == aiohttp.WSMsgType.TEXT:
                    status = json.loads(message.data).get("exit")
                    return status if isinstance(status, int) else None
                sys.stdout.buffer.write(message.data)
                sys.stdout.flush()
        finally:
            typing.cancel()
            await asyncio.wait([typing])
    return None


def _size() -> dict[str, int]:
    size = os.get_terminal_size()
    return {"rows": size.lines or 24, "columns": size.columns or 80}  # a terminal may not know its own


_sending: set[asyncio.Task[None]] = set()


def _resize(socket: aiohttp.ClientWebSocketResponse) -> None:
    task = asyncio.ensure_future(socket.send_json(_size()))
    _sending.add(task)
    task.add_done_callback(_sending.discard)


async def _type(socket: aiohttp.ClientWebSocketResponse) -> None:
    loop, typed = asyncio.get_running_loop(), asyncio.Queue[bytes]()
    # Read where it is known that there is something: the terminal is others' too, and so stays blocking.
    loop.add_reader(sys.stdin, lambda: typed.put_nowait(os.read(sys.stdin.fileno(), CHUNK)))
    try:
        while (data := await typed.get()) and ESCAPE not in data:
            await socket.send_bytes(data)
    finally:
        loop.remove_reader(sys.stdin)
    with suppress(ConnectionResetError):
        await socket.close()
