"""The API as a whole: its description is true, and it keeps strangers out."""

import json
import re
from http import HTTPStatus
from typing import Any

import jsonschema
import pytest

from orchestrator.services import STORE
from orchestrator.web import FILES
from tests.orchestrator.api import Api
from tests.orchestrator.run_files import stored

UNDESCRIBED = {("GET", "/api/v1/openapi.json"), ("GET", "/docs"), *(("GET", path) for path in FILES)}
"""For people, and what describes the rest."""
SAMPLES = {"lab": "one", "host": "middle", "network": "ring-a"}


async def described(api: Api) -> dict[str, Any]:
    document = await api.send("GET", "/api/v1/openapi.json")
    assert isinstance(document, dict)
    return document


async def test_every_route_is_described_and_every_description_has_a_route(api: Api) -> None:
    document = await described(api)
    paths = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    app = api.client.app
    assert app is not None
    routes = {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    assert paths == routes - UNDESCRIBED
    assert routes >= UNDESCRIBED


async def test_the_description_is_openapi_3_1_with_valid_schemas_and_references(api: Api) -> None:
    document = await described(api)
    assert document["openapi"] == "3.1.0"
    schemas = document["components"]["schemas"]
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema.get("type") != "object" or schema["additionalProperties"] is False
    for name in re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)):
        assert name in schemas
    ids = [operation["operationId"] for item in document["paths"].values() for operation in item.values()]
    assert len(ids) == len(set(ids))
    for path, item in document["paths"].items():
        for operation in item.values():
            named = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
            assert named == set(re.findall(r"{(\w+)}", path))
            assert operation["summary"]
            for parameter in operation["parameters"]:
                jsonschema.Draft202012Validator.check_schema(parameter["schema"])


async def test_answers_are_as_described(api: Api) -> None:
    document = await described(api)
    await api.lab("one")
    work = {"workload": "sink", "port": 9}
    sink = await api.send("POST", "/api/v1/labs/one/hosts/middle/workloads", work, 201)
    assert api.client.app is not None
    run = await stored(api.client.app[STORE], "20260101-000000-aaaaaa")
    for path, item in document["paths"].items():
        content = item.get("get", {"responses": {"200": {}}})["responses"].get("200", {}).get("content", {})
        if "application/json" not in content:
            continue
        url = path.format(**SAMPLES, run=run.id, other=run.id, workload=sink["id"])
        schema = content["application/json"]["schema"] | {"components": document["components"]}
        jsonschema.validate(await api.send("GET", url), schema)


async def test_every_event_is_described(api: Api) -> None:
    document = await described(api)
    stream = document["paths"]["/api/v1/events"]["get"]["responses"]["200"]["content"]["text/event-stream"]
    assert set(stream["x-events"]) == {
        *("lab", "host", "agent", "network", "hogs", "run", "progress", "machine", "gap")
    }
    for reference in stream["x-events"].values():
        assert reference["$ref"].rpartition("/")[2] in document["components"]["schemas"]


async def test_every_problem_is_explained(api: Api) -> None:
    for item in (await described(api))["paths"].values():
        for operation in item.values():
            for status, response in operation["responses"].items():
                assert response["description"] != HTTPStatus(int(status)).phrase or int(status) < 400


async def test_problems_are_as_described(api: Api) -> None:
    document = await described(api)
    schema = document["components"]["schemas"]["ProblemView"] | {"components": document["components"]}
    for method, path, body, status in (
        ("GET", "/api/v1/labs/none", None, 404),
        ("PATCH", "/api/v1/labs", None, 405),
        ("GET", "/nothing", None, 404),
        ("POST", "/api/v1/runs", {"trials": 0, "x": 1}, 422),
        ("POST", "/api/v1/labs", {"name": "one", "topology": {"name": "x", "hosts": {"-": {}}}}, 422),
    ):
        async with api.client.request(method, path, json=body) as answer:
            assert (answer.status, answer.content_type) == (status, "application/problem+json")
            jsonschema.validate(await answer.json(), schema)


async def test_the_page_for_people_needs_nothing_from_elsewhere(api: Api) -> None:
    async with api.client.get("/docs") as answer:
        page = await answer.text()
    assert "/api/v1/runs/{run}/figure" in page
    assert "//" not in page
    assert "<script" not in page


async def test_health_names_the_service_and_its_state_directory(api: Api) -> None:
    health = await api.send("GET", "/api/v1/health")
    assert (health["service"], health["status"], health["running"]) == ("transship", "ok", None)
    api.keeper.state = "down"
    assert (await api.send("GET", "/api/v1/health"))["status"] == "degraded"


async def test_what_there_is_is_listed(api: Api) -> None:
    names = [one["name"] for one in (await api.send("GET", "/api/v1/topologies"))["topologies"]]
    assert {"two-fddi", "two-fddi-switched", "chain"} <= set(names)
    assert (await api.send("GET", "/api/v1/systems"))["systems"][0]["name"] == "linux"
    assert (await api.send("GET", "/api/v1/machines"))["machines"][0]["state"] == "up"
    assert (await api.send("GET", "/api/v1/experiments"))["experiments"][0]["name"] == "fddi"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8351", "127.0.0.1.evil.example", "", "10.0.0.1", "[x"]
)
async def test_another_host_name_is_refused(api: Api, host: str) -> None:
    async with api.client.get("/api/v1/health", headers={"Host": host}) as answer:
        assert answer.status in (400, 421)
        assert "transship" not in (await answer.text())


@pytest.mark.parametrize("host", ["localhost", "localhost:8351", "127.0.0.1:8351", "[::1]:8351"])
async def test_names_of_this_machine_are_accepted(api: Api, host: str) -> None:
    async with api.client.get("/api/v1/health", headers={"Host": host}) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:3000"])
async def test_changes_from_another_origin_are_refused(api: Api, origin: str) -> None:
    for method, path in (("POST", "/api/v1/runs"), ("DELETE", "/api/v1/labs/one")):
        async with api.client.request(
            method, path, json={"experiment": "fddi"}, headers={"Origin": origin}
        ) as answer:
            assert answer.status == 403
    assert (await api.send("GET", "/api/v1/runs"))["runs"] == []


async def test_changes_from_our_own_page_are_accepted(api: Api) -> None:
    origin = str(api.client.make_url("/")).rstrip("/")
    async with api.client.delete("/api/v1/labs/none", headers={"Origin": origin}) as answer:
        assert answer.status == 204


@pytest.mark.parametrize(
    ("data", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"experiment": "fddi", "trials": NaN}', "application/json", 400),
        (b'{"experiment": "fddi", "trials": 1e999}', "application/json", 422),
        (b'{"experiment": "fddi"}', "text/plain", 415),
        (b'{"experiment": "fddi"}', "application/x-www-form-urlencoded", 415),
        (b'"' + b"x" * (1 << 20) + b'"', "application/json", 413),
    ],
)
async def test_bodies_that_are_no_json_or_too_large_are_refused(
    api: Api, data: bytes, content_type: str, status: int
) -> None:
    async with api.client.post("/api/v1/runs", data=data, headers={"Content-Type": content_type}) as answer:
        assert (answer.status, answer.content_type) == (status, "application/problem+json")
        assert (await answer.json())["detail"]
