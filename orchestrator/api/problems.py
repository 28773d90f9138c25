"""Requests into models and errors into problem+json, where the orchestrator has more to say than an agent."""

import json
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from agents.errors import Problem
from agents.problems import Handler, read_json
from orchestrator.store import StoreError, StoreFull
from topologies.loader import in_words

Body = TypeVar("Body", bound=BaseModel)


@web.middleware
async def store_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A full disk is 507, any other trouble with the index 500; both in the store's own words."""
    try:
        return await handler(request)
    except StoreFull as error:
        raise Problem(507, str(error)) from error
    except StoreError as error:
        raise Problem(500, str(error)) from error


async def read_body(request: web.Request, model: type[Body]) -> Body:
    """The request's body as `model`. Raises Problem 415, 400, or 422 as `validated` does."""
    if request.content_type != "application/json":
        raise Problem(415, f"the body must be application/json, not {request.content_type}", "Content-Type")
    return validated(model, await read_json(request))


def validated(model: type[Body], value: Any) -> Body:
    """`value` as `model`. Raises Problem 422 naming field, value and what is allowed."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        found = [_fault(item) for item in error.errors(include_url=False, include_context=False)]
    first = found[0]
    detail = f"{first['place']}: {first['message']}" if first["place"] else first["message"]
    raise Problem(422, detail, first["place"] or None, found)


def _fault(item: Any) -> dict[str, Any]:
    message = in_words(item["msg"].removeprefix("Value error, "))
    if item["type"] == "extra_forbidden":
        message = "unknown field"
    elif item["type"] != "missing":
        message = f"{message}, not {_shown(item['input'])}"
    # Where a field may be of several types, pydantic adds the type it tried to the place.
    place = ".".join(str(part) for part in item["loc"] if part not in ("str", "dict[str,any]"))
    return {"place": place, "message": message}


def _shown(value: object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."
