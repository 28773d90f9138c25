"""How an agent and whoever started it know each other: a word for each direction, handed down through a pipe.

The sockets are their owner's only already. These words keep out what else runs as that user, and tell a
client that somebody else has taken an agent's place.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Annotated, Self

import aiohttp
from aiohttp import web
from pydantic import BaseModel, ConfigDict, StringConstraints

from agents.errors import AgentError, Problem
from agents.problems import problem_response

ANSWER = "Transship-Agent"
"""The header of every answer that has the agent's word."""

Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{32,128}$")]


class Tokens(BaseModel):
    """What requests and answers carry."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ask: Word
    answer: Word

    @classmethod
    def fresh(cls) -> Self:
        """Two that nobody else knows."""
        return cls(ask=secrets.token_urlsafe(32), answer=secrets.token_urlsafe(32))

    def guard(self, app: web.Application) -> None:
        """Lets the application answer those only who have the word, and all of them with the other."""

        @web.middleware
        async def known(
            request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
        ) -> web.StreamResponse:
            if not _same(request.headers.get("Authorization", ""), f"Bearer {self.ask}"):
                return problem_response(
                    Problem(401, "this agent answers whoever started it, and nobody else")
                )
            return await handler(request)

        async def sign(request: web.Request, response: web.StreamResponse) -> None:
            if _same(request.headers.get("Authorization", ""), f"Bearer {self.ask}"):
                response.headers[ANSWER] = self.answer

        app.middlewares.append(known)
        app.on_response_prepare.append(sign)

    def headers(self) -> dict[str, str]:
        """Of each request."""
        return {"Authorization": f"Bearer {self.ask}"}

    def trace(self, name: str) -> aiohttp.TraceConfig:
        """Refuses answers that do not have the agent's word, before anybody reads them."""

        async def check(
            session: aiohttp.ClientSession, context: SimpleNamespace, end: aiohttp.TraceRequestEndParams
        ) -> None:
            if not _same(end.response.headers.get(ANSWER, ""), self.answer):
                end.response.close()
                raise AgentError(502, f"it is not {name} that answers in its place")

        config = aiohttp.TraceConfig()
        config.on_request_end.append(check)
        return config


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(errors="replace"), other.encode())
