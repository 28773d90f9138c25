"""An agent and whoever started it know each other; nobody else is answered, or believed."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from agents.errors import AgentError
from agents.problems import problem_middleware
from agents.tokens import Tokens
from agents.transport import UnixTransport

OURS, OTHERS = Tokens.fresh(), Tokens.fresh()


@pytest.fixture
async def path() -> AsyncIterator[Path]:
    """The socket of an agent that was started with our tokens."""

    async def hello(request: web.Request) -> web.Response:
        return web.Response(text="hello")

    async def elsewhere(request: web.Request) -> web.Response:
        raise web.HTTPFound("/hello")

    async def echo(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(await socket.receive_str())
        return socket

    app = web.Application(middlewares=[problem_middleware])
    OURS.guard(app)
    app.add_routes([web.get("/hello", hello), web.get("/elsewhere", elsewhere), web.get("/echo", echo)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    with tempfile.TemporaryDirectory(prefix="ts-") as directory:
        await web.UnixSite(runner, f"{directory}/agent.sock").start()
        yield Path(directory) / "agent.sock"
        await runner.cleanup()


async def ask(path: Path, tokens: Tokens | None, what: str = "/hello") -> bytes:
    transport = UnixTransport(path, "the agent", tokens=tokens)
    try:
        return await transport.request("GET", what, timeout_s=30)
    finally:
        await transport.close()


async def test_who_has_the_tokens_is_answered(path: Path) -> None:
    assert await ask(path, OURS) == b"hello"
    transport = UnixTransport(path, "the agent", tokens=OURS)
    async with transport.talk("/echo") as talk:
        await talk.send("hello")
        assert await talk.receive() == "hello"
    await transport.close()


async def test_nobody_else_is(path: Path) -> None:
    with pytest.raises(AgentError, match="whoever started it, and nobody else") as caught:
        await ask(path, None)
    assert caught.value.status == 401
    for tokens in (OTHERS, Tokens(ask=OTHERS.ask, answer=OURS.answer)):
        with pytest.raises(AgentError):
            await ask(path, tokens)


async def test_an_answer_without_the_agents_word_is_not_believed(path: Path) -> None:
    impostor = Tokens(ask=OURS.ask, answer=OTHERS.answer)
    with pytest.raises(AgentError, match="it is not the agent that answers"):
        await ask(path, impostor)
    transport = UnixTransport(path, "the agent", tokens=impostor)
    with pytest.raises(AgentError, match="it is not the agent that answers"):
        async with transport.talk("/echo"):
            pass
    await transport.close()


async def test_an_agent_follows_nobody_elsewhere(path: Path) -> None:
    with pytest.raises(AgentError, match="a redirection, which is not followed") as caught:
        await ask(path, OURS, "/elsewhere")
    assert caught.value.status == 502
