"""JSON over HTTP over a Unix socket: how a client reaches a machine agent, and it its host agents."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp

from agents.errors import AgentError


class Unreachable(AgentError):
    """Nobody answered: the agent is dead, not started, or does not answer in time."""


class UnixTransport:
    """Requests to the one server behind a Unix socket. Must be closed.

    `name` is what errors call the server, `epitaph` may tell how its process ended.
    """

    def __init__(
        self, socket_path: Path | str, name: str, epitaph: Callable[[], str | None] | None = None
    ) -> None:
        self._path = str(socket_path)
        self._name = name
        self._epitaph = epitaph
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def request(self, method: str, path: str, body: Any = None, *, timeout_s: float) -> bytes:
        """The body of a good answer. Raises `AgentError` for any other, `Unreachable` for none."""
        if self._session is None:
            connector = aiohttp.UnixConnector(path=self._path, limit=64)
            self._session = aiohttp.ClientSession(connector=connector)
        try:
            async with self._session.request(
                method,
                f"http://agent{path}",
                json=body,
                timeout=aiohttp.ClientTimeout(total=timeout_s),
            ) as answer:
                content = await answer.read()
                if answer.status >= 400:
                    raise _told(answer.status, content)
                return content
        except TimeoutError:
            raise Unreachable(
                504, f"{self._name} did not answer {method} {path} within {timeout_s:g} s"
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            raise Unreachable(503, self._last_words(error)) from None

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
