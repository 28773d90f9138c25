"""JSON over HTTP over a Unix socket: how a client reaches a machine agent, and it its host agents."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import aiohttp

from agents.errors import AgentError
from agents.tokens import Tokens

CONNECTIONS = 256
"""At most, to one server; captures and consoles hold theirs for long."""
CONNECT_S = 30.0
MESSAGE_LIMIT = 64 << 10
"""Bytes in one message of a WebSocket."""


class Answer(NamedTuple):
    """A good answer."""

    content: bytes
    headers: Mapping[str, str]


class Talk:
    """A WebSocket, as bytes and text."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    async def receive(self) -> bytes | str | None:
        """What comes next; None at the end."""
        message = await self._socket.receive()
        if message.type in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT):
            data: bytes | str = message.data
            return data
        return None

    async def send(self, data: bytes | str) -> None:
        """Sends it. Raises `ConnectionResetError` when nobody is there any more."""
        if isinstance(data, bytes):
            await self._socket.send_bytes(data)
        else:
            await self._socket.send_str(data)


class Unreachable(AgentError):
    """Nobody answered: the agent is dead, not started, or does not answer in time."""


class UnixTransport:
    """Requests to the one server behind a Unix socket. Must be closed.

    `name` is what errors call the server, `epitaph` may tell how its process ended, `tokens` are what both
    know each other by.
    """

    def __init__(
        self,
        socket_path: Path | str,
        name: str,
        epitaph: Callable[[], str | None] | None = None,
        tokens: Tokens | None = None,
    ) -> None:
        self._tokens = tokens
        self._path = str(socket_path)
        self._name = name
        self._epitaph = epitaph
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def request(self, method: str, path: str, body: Any = None, *, timeout_s: float) -> bytes:
        """The body of a good answer. Raises as `answer` does."""
        return (await self.answer(method, path, body, timeout_s=timeout_s)).content

    async def answer(self, method: str, path: str, body: Any = None, *, timeout_s: float) -> Answer:
        """A good answer. Raises `AgentError` for any other, `Unreachable` for none."""
        try:
            async with self._open().request(
                method,
                f"http://agent{path}",
                json=body,
                timeout=aiohttp.ClientTimeout(total=timeout_s),
                allow_redirects=False,
            ) as answer:
                content = await answer.read()
                self._check(answer.status, content)
                return Answer(content, answer.headers)
        except TimeoutError:
            raise Unreachable(
                504, f"{self._name} did not answer {method} {path} within {timeout_s:g} s"
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            raise Unreachable(503, self._last_words(error)) from None

    @contextlib.asynccontextmanager
    async def stream(self, path: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """The body of a good answer as it comes, for as long as it takes. Raises as `request` does."""
        forever = aiohttp.ClientTimeout(total=None, connect=CONNECT_S)
        try:
            async with self._open().get(
                f"http://agent{path}", timeout=forever, allow_redirects=False
            ) as answer:
                if answer.status >= 300:
                    self._check(answer.status, await answer.read())
                yield self._chunks(answer)
        except (aiohttp.ClientError, OSError) as error:
            raise Unreachable(503, self._last_words(error)) from None

    async def _chunks(self, answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        try:
            async for data in answer.content.iter_any():
                yield data
        except aiohttp.ClientError as error:
            raise Unreachable(503, self._last_words(error)) from None

    @contextlib.asynccontextmanager
    async def talk(self, path: str) -> AsyncIterator[Talk]:
        """A WebSocket. Raises as `request` does."""
        try:
            socket = await self._open().ws_connect(f"http://agent{path}", max_msg_size=MESSAGE_LIMIT)
        except aiohttp.WSServerHandshakeError as error:
            # It does not have the answer's body; an ordinary request is refused for the same reason.
            await self.request("GET", path, timeout_s=CONNECT_S)
            raise Unreachable(503, self._last_words(error)) from None
        except (aiohttp.ClientError, OSError) as error:
            raise Unreachable(503, self._last_words(error)) from None
        async with socket:
            yield Talk(socket)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.UnixConnector(path=self._path, limit=CONNECTIONS)
            tokens = self._tokens
            self._session = aiohttp.ClientSession(
                connector=connector,
                headers=tokens.headers() if tokens else None,
                trace_configs=[tokens.trace(self._name)] if tokens else None,
            )
        return self._session

    def _check(self, status: int, content: bytes) -> None:
        if 300 <= status < 400:
            raise AgentError(502, f"{self._name} answered with a redirection, which is not followed")
        if status >= 400:
            raise _told(status, content)

    def _last_words(self, error: Exception) -> str:
        epitaph = self._epitaph() if self._epitaph is not None else None
        if epitaph is not None:
            return epitaph
        return f"{self._name} at {self._path} does not answer: {error or type(error).__name__}"


def path_of(*parts: str) -> str:
    """A request's path made of `parts`, each quoted."""
    return "/" + "/".join(quote(part, safe="") for part in parts)


def _told(status: int, content: bytes) -> AgentError:
    try:
        body = json.loads(content)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        return AgentError(status, content.decode(errors="replace")[:1000] or f"HTTP status {status}")
    return AgentError.from_document(status, body)
