"""The web side of `agents.errors`: aiohttp handlers raise `Problem`, clients get problem+json."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from aiohttp import web

from agents.errors import Problem

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

    Model = TypeVar("Model", bound=BaseModel)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
BODY_LIMIT = 1 << 20
"""Bytes of the largest request body any service reads (`client_max_size` of its application)."""

WAIT_LIMIT_S = 30.0
"""Seconds that a request may ask to be kept waiting."""

MOST_PIXELS = 16384
"""Pixels of a frame buffer's side, at most."""

log = logging.getLogger(__name__)


def problem_response(problem: Problem) -> web.Response:
    """The answer that tells `problem`."""
    return web.Response(
        status=problem.status,
        text=json.dumps(problem.document()),
        content_type="application/problem+json",
    )


@web.middleware
async def problem_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns whatever a handler raises into problem+json; a programming error is logged and is a 500."""
    try:
        return await handler(request)
    except Problem as problem:
        return problem_response(problem)
    except web.HTTPRequestEntityTooLarge:
        return problem_response(Problem(413, f"the request's body is longer than {BODY_LIMIT} bytes"))
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        answer = problem_response(
            Problem(405, f"{request.path} does not answer {request.method}; it answers {allowed}")
        )
        answer.headers["Allow"] = allowed
        return answer
    except web.HTTPNotFound:
        return problem_response(Problem(404, f"there is nothing at {request.path}"))
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return problem_response(Problem(error.status, error.text or error.reason))
    except Exception as error:
        log.exception("%s %s failed", request.method, request.path)
        return problem_response(Problem(500, f"{request.method} {request.path} failed: {error!r}"))


async def listen(runner: web.AppRunner, path: Path) -> None:
    """Serves `runner`, which is set up, on a Unix socket that only its owner can open (mode 0600).

    What this process makes from now on is its owner's only, too.
    """
    os.umask(0o177)
    try:
        await web.UnixSite(runner, str(path)).start()
    finally:
        os.umask(0o077)


async def read_json(request: web.Request) -> Any:
    """The request's JSON body. Raises `Problem` 400 when it is none, or says one thing twice."""
    body = await request.read()
    try:
        return json.loads(body, parse_constant=_no_number, parse_float=_number, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise Problem(400, f"the request's body is not JSON: {error}") from None


def seconds(request: web.Request, name: str) -> float:
    """How long the query says to wait; 0 if it does not. Raises `Problem` 422."""
    text = request.query.get(name, "0")
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found <= WAIT_LIMIT_S:
        raise Problem(422, f"{name} must be 0 to {WAIT_LIMIT_S:g} seconds, not {text[:40]!r}", name)
    return found


def pixels(request: web.Request, name: str) -> int | None:
    """How many pixels the query says, if it does. Raises `Problem` 422."""
    text = request.query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and 1 <= int(text) <= MOST_PIXELS):
        raise Problem(422, f"{name} must be 1 to {MOST_PIXELS} pixels, not {text[:40]!r}", name)
    return int(text)


def _number(text: str) -> int | float:
    """JSON has one kind of number: 2.0 is as whole as 2."""
    value = float(text)
    return int(value) if value.is_integer() else value


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is not a number of JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key in found if sum(key == other for other, _ in pairs) > 1)
        raise ValueError(f"the key {twice[:80]!r} is given twice")
    return found


async def read_model(request: web.Request, model: type[Model]) -> Model:
    """The request's JSON body as `model`. Raises `Problem` 400 or 422, which names the field at fault."""
    from pydantic import ValidationError  # not at the top: host agents must start fast without it

    body = await read_json(request)
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise invalid(error) from None


def invalid(error: ValidationError) -> Problem:
    """The 422 that tells what a pydantic model refused."""
    from topologies.loader import in_words  # with pydantic

    found = [
        {"place": ".".join(str(part) for part in one["loc"]), "message": in_words(one["msg"])}
        for one in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    first = found[0]
    where = f"{first['place']}: " if first["place"] else ""
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return Problem(422, f"{where}{first['message']}{more}", first["place"] or None, found[:20])
