"""The OpenAPI 3.1 description, made from the table of routes and the models that validate."""

from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from orchestrator import VERSION
from orchestrator.api.models import NAME_PATTERN, RUN_PATTERN, ProblemView
from orchestrator.api.routing import Media, Route, Shape

ALWAYS = (401, 403, 421, 429, 500)
PROBLEMS = {
    400: "the body is no JSON",
    401: "the token is missing or wrong, where the server wants one",
    403: "a web page of another origin asks",
    404: "there is nothing of that name; `field` says what",
    409: "not in the state it is in; `detail` says why",
    413: "the body is too long",
    415: "the body is of another type",
    421: "the request names another machine than this one as its Host",
    422: "a value is not allowed; `field` says which",
    429: "too many requests within a second; `Retry-After` says when to ask again",
    500: "a fault; `detail` says what is known of it",
    502: "a workload or an agent broke; `detail` has its last words",
    503: "the machine agent is down or being started again, or the orchestrator is stopping",
    507: "the disk is full; nothing that was stored before is lost",
}
"""What each status means here."""
REF = "#/components/schemas/{model}"


def describe(routes: tuple[Route, ...]) -> dict[str, Any]:
    """The description of these routes, as JSON."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Transship",
            "version": VERSION,
            "description": "Labs of emulated workstations, and the papers' experiments in them.",
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(routes),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],  # a server of this machine alone may have none
    }


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "parameters": [_path_parameter(name) for name in route.parameters] + _query_parameters(route),
        "responses": {},
    }
    for name, description in route.headers.items():
        operation["parameters"].append(
            {"name": name, "in": "header", "description": description, "schema": {"type": "string"}}
        )
    if isinstance(route.body, Media):
        operation["requestBody"] = {
            "required": True,
            "description": route.body.description,
            "content": _media(route.body),
        }
    elif isinstance(route.body, type):
        operation["requestBody"] = {"required": True, "content": _json(_reference(route.body))}
    for status, shape in route.replies.items():
        operation["responses"][str(status)] = _response(status, shape)
    bad_body = (400,) if isinstance(route.body, type) else ()
    for status in sorted({*route.problems, *ALWAYS, *bad_body}):
        operation["responses"][str(status)] = {
            "description": PROBLEMS.get(status, HTTPStatus(status).phrase),
            "content": {"application/problem+json": {"schema": _reference(ProblemView)}},
        }
    return operation


def _response(status: int, shape: Shape) -> dict[str, Any]:
    response: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    several = (shape,) if isinstance(shape, Media) else shape
    if isinstance(several, tuple):
        response["description"] = "; or ".join(one.description for one in several)
        response["content"] = {kind: what for one in several for kind, what in _media(one).items()}
    elif isinstance(shape, list):
        response["content"] = _json({"type": "array", "items": _reference(shape[0])})
    elif isinstance(shape, type):
        response["content"] = _json(_reference(shape))
    if status in (201, 202):
        response["headers"] = {
            "Location": {"description": "where to follow it", "schema": {"type": "string"}}
        }
    return response


def _path_parameter(name: str) -> dict[str, Any]:
    pattern = RUN_PATTERN if name in ("run", "other") else NAME_PATTERN
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": pattern}}


def _query_parameters(route: Route) -> list[dict[str, Any]]:
    if route.query is None:
        return []
    properties = route.query.model_json_schema()["properties"]
    return [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in properties.items()
    ]


def _schemas(routes: tuple[Route, ...]) -> dict[str, Any]:
    used: dict[str, type[BaseModel]] = {ProblemView.__name__: ProblemView}
    for route in routes:
        for shape in (route.body, *route.replies.values()):
            model = shape[0] if isinstance(shape, list) else shape
            if isinstance(model, type):
                used[model.__name__] = model
            elif isinstance(model, Media):
                used |= {event.__name__: event for event in model.events.values()}
    _, schema = models_json_schema([(model, "validation") for model in used.values()], ref_template=REF)
    return dict(schema["$defs"])


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": REF.format(model=model.__name__)}


def _media(media: Media) -> dict[str, Any]:
    """Bytes have no schema in OpenAPI 3.1; text is a string."""
    text = media.content_type.startswith("text/") or media.content_type.endswith(("+xml", "ndjson"))
    found: dict[str, Any] = {"schema": {"type": "string"}} if text else {}
    if media.events:
        found["x-events"] = {kind: _reference(model) for kind, model in media.events.items()}
    return {media.content_type: found}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
