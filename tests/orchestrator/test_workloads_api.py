"""Workloads and hogs by hand over REST: what the agent is asked, what the person sees, what is refused."""

from typing import Any

import pytest

from agents.errors import AgentError, Problem
from orchestrator.workloads import specification
from tests.orchestrator.api import Api

PATH = "/api/v1/labs/one/hosts/middle/workloads"


def interface(network: str, address: str, mtu: int = 4352) -> dict[str, Any]:
    return {"network": network, "address": address, "prefix": 24, "mtu": mtu}


HOSTS = {
    "source": {"interfaces": [interface("ring-a", "10.1.0.1")]},
    "middle": {"interfaces": [interface("ring-a", "10.1.0.2"), interface("ring-b", "10.2.0.1")]},
    "sink": {"interfaces": [interface("ring-b", "10.2.0.2", 1500)]},
    "alone": {"interfaces": []},
}
ASKED: dict[str, Any] = {
    **{"system": "linux", "to": None, "port": None, "network": None, "rate_mbps": None},
    **{"size": None, "duration_s": None, "params": {}},
}


def made(host: str, workload: str, **asked: Any) -> dict[str, Any]:
    found: dict[str, Any] = specification(HOSTS, host, {**ASKED, "workload": workload, **asked})["params"]
    return found


def test_hosts_are_named_and_their_addresses_found() -> None:
    source = made("source", "source", to="middle", rate_mbps=5.0)
    assert (source["local"], source["remote"], source["size"]) == ("10.1.0.1:0", "10.1.0.2:9000", 4324)
    assert "duration_s" not in source and 0 < source["flow"] < 2**32
    assert made("middle", "forwarder", to="sink:7") == {
        **{"local": "10.1.0.2:9000", "out_local": "10.2.0.1", "remote": "10.2.0.2:7"},
    }
    assert made("source", "forwarder", to="middle:7", port=8)["local"] == "10.1.0.1:8"
    assert made("sink", "sink", port=7, size=100) == {"local": "10.2.0.2:7", "flow": 0, "size": 100}
    assert made("middle", "sink", network="ring-b")["local"] == "10.2.0.1:9000"
    assert made("sink", "source", to="10.2.0.77:5", rate_mbps=1.0)["remote"] == "10.2.0.77:5"
    assert made("middle", "sink", network="ring-b", params={"flow": 3})["flow"] == 3


def test_each_source_has_a_flow_of_its_own() -> None:
    assert len({made("source", "source", to="middle", rate_mbps=1.0)["flow"] for _ in range(8)}) == 8


@pytest.mark.parametrize(
    ("host", "asked", "field", "says"),
    [
        ("source", {"workload": "source", "rate_mbps": 1.0}, "to", "a source needs it"),
        ("source", {"workload": "source", "to": "middle"}, "rate_mbps", "a source needs it"),
        ("source", {"workload": "sink", "to": "middle"}, "to", "it has port, network, size"),
        ("source", {"workload": "producer", "port": 5}, "port", "it has params alone"),
        ("middle", {"workload": "sink"}, "network", "none given, .* expected: ring-a, ring-b"),
        ("middle", {"workload": "sink", "network": "wire"}, "network", "'wire' given"),
        ("alone", {"workload": "sink"}, "network", "none given"),
        (
            "source",
            {"workload": "source", "to": "sink", "rate_mbps": 1.0},
            "to",
            "whose networks are: ring-a",
        ),
        ("source", {"workload": "source", "to": "nobody", "rate_mbps": 1.0}, "to", "one of source, middle"),
        ("source", {"workload": "source", "to": "10.9.0.1", "rate_mbps": 1.0}, "to", "10.1.0.1/24"),
        ("source", {"workload": "source", "to": "middle:0", "rate_mbps": 1.0}, "to", "HOST:PORT"),
        ("source", {"workload": "source", "to": "middle:65536", "rate_mbps": 1.0}, "to", "HOST:PORT"),
        ("source", {"workload": "source", "to": "::1", "rate_mbps": 1.0}, "to", "HOST:PORT"),
        (
            "source",
            {"workload": "source", "to": "source", "rate_mbps": 1.0, "network": "x"},
            "network",
            "no such",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_field(
    host: str, asked: dict[str, Any], field: str, says: str
) -> None:
    with pytest.raises(Problem, match=says) as caught:
        made(host, **asked)
    assert (caught.value.status, caught.value.field) == (422, field)
    assert caught.value.detail.startswith(f"{field}: ")


async def test_a_workload_is_started_shown_changed_and_stopped(api: Api) -> None:
    await api.lab("one")
    body = {"workload": "sink", "system": "shipping", "port": 5, "params": {"protection": "strict"}}
    async with api.client.post(PATH, json=body) as answer:
        assert answer.status == 201
        place, view = answer.headers["Location"], await answer.json()
    assert api.machine.started[0] == {
        **{"lab": "one", "host": "middle", "workload": "sink", "system": "shipping"},
        "params": {"local": "10.1.0.1:5", "flow": 0, "protection": "strict"},
    }
    assert place == f"{PATH}/{view['id']}"
    assert (view["state"], view["lost"], view["loss"], view["mbps_in"]) == ("running", 10, None, None)
    view = await api.send("GET", f"{place}?over_s=0.25")
    assert (view["loss"], view["mbps_in"], view["mbps_out"]) == (0.25, 10.0, None)
    assert (await api.send("GET", f"{PATH}?over_s=0"))["workloads"][0]["loss"] is None
    assert (await api.send("PATCH", place, {"rate_mbps": 7}))["params"]["rate_mbps"] == 7
    assert (await api.send("DELETE", place))["state"] == "done"


async def test_hogs_are_set_and_shown(api: Api) -> None:
    await api.lab("one")
    path = "/api/v1/labs/one/hosts/middle/hogs"
    assert (await api.send("PUT", path, {"count": 2}))["running"] == 2
    assert (await api.send("GET", path))["count"] == 2


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", PATH, {"workload": "hog"}, "workload"),
        ("POST", PATH, {"workload": "copier"}, "workload"),
        ("POST", PATH, {"workload": "sink", "system": "../x"}, "system"),
        ("POST", PATH, {"workload": "sink", "port": 65536}, "port"),
        ("POST", PATH, {"workload": "sink", "colour": 1}, "colour"),
        ("POST", PATH, {"workload": "source", "to": "x", "rate_mbps": -1}, "rate_mbps"),
        ("POST", PATH, {"workload": "source", "to": "x", "rate_mbps": 1e300}, "rate_mbps"),
        ("POST", PATH, {"workload": "source", "to": "x", "rate_mbps": 1, "size": 27}, "size"),
        ("POST", PATH, {"workload": "source", "to": "x", "rate_mbps": 1, "duration_s": 0}, "duration_s"),
        ("PATCH", f"{PATH}/sink-1", {"rate_mbps": 0}, "rate_mbps"),
        ("PATCH", f"{PATH}/sink-1", {"size": 65508}, "size"),
        ("PATCH", f"{PATH}/sink-1", {"system": "linux"}, "system"),
        ("PUT", "/api/v1/labs/one/hosts/middle/hogs", {"count": -1}, "count"),
        ("PUT", "/api/v1/labs/one/hosts/middle/hogs", {"count": 65}, "count"),
        ("GET", f"{PATH}?over_s=-1", None, "over_s"),
        ("GET", f"{PATH}?over_s=nan", None, "over_s"),
        ("GET", f"{PATH}?colour=1", None, "colour"),
    ],
)
async def test_bad_requests_name_their_field(api: Api, method: str, path: str, body: Any, field: str) -> None:
    await api.lab("one")
    problem = await api.send(method, path, body, 422)
    assert problem["field"] == field
    assert problem["detail"].startswith(field)
    assert api.machine.started == []


async def test_what_the_agent_refuses_is_told_with_the_field_asked_for(api: Api) -> None:
    await api.lab("one")
    words = "sink did not start: params.local: '10.1.0.1:9000' given, a port that nobody uses expected"
    api.machine.refuse_start = AgentError(422, words, "params.local")
    problem = await api.send("POST", PATH, {"workload": "sink"}, 422)
    assert (problem["field"], problem["detail"]) == ("port", words)


async def test_what_is_not_there_is_named(api: Api) -> None:
    await api.lab("one")
    await api.send("POST", "/api/v1/labs/one/hosts/none/workloads", {"workload": "sink"}, 404)
    for method, body in (("GET", None), ("PATCH", {"size": 99}), ("DELETE", None)):
        problem = await api.send(method, f"{PATH}/sink-9", body, 404)
        assert (problem["field"], "'sink-9'" in problem["detail"]) == ("workload", True)


async def test_a_lab_that_a_run_uses_is_left_alone(api: Api) -> None:
    await api.lab("one")
    sink = await api.send("POST", PATH, {"workload": "sink"}, 201)
    await api.send("DELETE", f"{PATH}/{sink['id']}")
    run = await api.send("POST", "/api/v1/runs", {"experiment": "endless", "lab": "one"}, 202)
    await api.until(lambda: api.send("GET", "/api/v1/labs/one"), lambda lab: lab["run"] == run["id"])
    for method, path, body in (
        ("POST", PATH, {"workload": "sink"}),
        ("PATCH", f"{PATH}/{sink['id']}", {"size": 99}),
        ("DELETE", f"{PATH}/{sink['id']}", None),
        ("PUT", "/api/v1/labs/one/hosts/middle/hogs", {"count": 1}),
    ):
        assert run["id"] in (await api.send(method, path, body, 409))["detail"]
    await api.send("GET", PATH)
    await api.send("DELETE", f"/api/v1/runs/{run['id']}", status=202)
    await api.ended(run["id"])


@pytest.mark.parametrize(
    ("method", "path", "body", "says"),
    [
        ("POST", PATH, {"workload": "sink"}, "the workload sink-1 runs on the host 'middle'"),
        ("PUT", "/api/v1/labs/one/hosts/sink/hogs", {"count": 1}, "a hog runs on the host 'sink'"),
    ],
)
async def test_a_run_does_not_begin_where_something_else_works(
    api: Api, method: str, path: str, body: Any, says: str
) -> None:
    await api.lab("one")
    await api.send(method, path, body, 201 if method == "POST" else 200)
    run = await api.run("fddi", lab="one")
    assert run["state"] == "failed"
    assert says in run["message"]
