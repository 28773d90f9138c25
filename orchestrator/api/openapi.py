"""The OpenAPI 3.1 description, made from the table of routes and the models that validate."""

from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from orchestrator import VERSION
from orchestrator.api.models import NAME_PATTERN, RUN_PATTERN, ProblemView
from orchestrator.api.routing import Media, Route

ALWAYS = (403, 421, 500)
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
        "components": {"schemas": _schemas(routes)},
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
    if route.body is not None:
        operation["requestBody"] = {"required": True, "content": _json(_reference(route.body))}
    for status, shape in route.replies.items():
        operation["responses"][str(status)] = _response(status, shape)
    bad_body = (400,) if route.body is not None else ()
    for status in sorted({*route.problems, *ALWAYS, *bad_body}):
        operation["responses"][str(status)] = {
            "description": HTTPStatus(status).phrase,
            "content": {"application/problem+json": {"schema": _reference(ProblemView)}},
        }
    return operation


def _response(status: int, shape: type[BaseModel] | list[type[BaseModel]] | Media | None) -> dict[str, Any]:
    response: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    if isinstance(shape, Media):
        schema = {} if shape.content_type == "application/json" else {"type": "string"}
        response = {"description": shape.description, "content": {shape.content_type: {"schema": schema}}}
    elif isinstance(shape, list):
        response["content"] = _json({"type": "array", "items": _reference(shape[0])})
    elif shape is not None:
        response["content"] = _json(_reference(shape))
    if status == 202:
        response["headers"] = {
            "Location": {"description": "where to follow it", "schema": {"type": "string"}}
        }
    return response


def _path_parameter(name: str) -> dict[str, Any]:
    pattern = RUN_PATTERN if name == "run" else NAME_PATTERN
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
    _, schema = models_json_schema([(model, "validation") for model in used.values()], ref_template=REF)
    return dict(schema["$defs"])


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": REF.format(model=model.__name__)}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
