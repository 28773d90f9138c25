"""Labs over REST: deployed, changed, looked into and destroyed, with errors that name what is wrong."""

import asyncio
import json
from typing import Any

import pytest

from tests.orchestrator.api import Api

SMALL = {
    "name": "pair",
    "hosts": {"a": {}, "b": {}},
    "networks": {"wire": {"medium": "switched", "rate_mbps": 10, "stations": ["a", "b"]}},
}


async def test_a_lab_is_deployed_in_the_background_and_found_at_its_location(api: Api) -> None:
    api.machine.hold = asyncio.Event()
    body = {"name": "one", "topology": "two-fddi"}
    async with api.client.post("/api/v1/labs", json=body) as answer:
        assert answer.status == 202
        assert answer.headers["Location"] == "/api/v1/labs/one"
        assert (await answer.json())["state"] == "deploying"
    api.machine.hold.set()
    lab = await Api.until(
        lambda: api.send("GET", "/api/v1/labs/one"), lambda lab: lab["state"] != "deploying"
    )
    assert (lab["state"], lab["hosts"]) == ("ready", ["source", "middle", "sink"])
    assert [network["rate_mbps"] for network in lab["networks"]] == [100, 100]


async def test_the_same_lab_again_is_a_no_op_and_another_topology_a_conflict(api: Api) -> None:
    await api.lab("one", SMALL)
    await api.send("POST", "/api/v1/labs", {"name": "one", "topology": SMALL}, 200)
    problem = await api.send("POST", "/api/v1/labs", {"name": "one", "topology": "two-fddi"}, 409)
    assert problem["field"] == "name"
    assert "'one'" in problem["detail"] and "'pair'" in problem["detail"]


async def test_a_parameterised_topology_is_deployed(api: Api) -> None:
    assert len((await api.lab("long", "chain,5"))["hosts"]) == 5


async def test_a_failed_deploy_says_why_and_can_be_tried_again(api: Api) -> None:
    api.machine.refuse = "cannot create veth: no space left"
    await api.send("POST", "/api/v1/labs", {"name": "one", "topology": SMALL}, 202)
    lab = await Api.until(lambda: api.send("GET", "/api/v1/labs/one"), lambda lab: lab["state"] == "failed")
    assert lab["message"] == "cannot create veth: no space left"
    problem = await api.send("GET", "/api/v1/labs/one/hosts/a", status=409)
    assert "no space left" in problem["detail"]
    api.machine.refuse = None
    await api.lab("one", SMALL)


async def test_destroying_twice_is_a_no_op(api: Api) -> None:
    await api.lab("one")
    await api.send("DELETE", "/api/v1/labs/one", status=202)

    async def status() -> int:
        async with api.client.get("/api/v1/labs/one") as answer:
            return answer.status

    await Api.until(status, lambda status: status == 404)
    assert api.machine.deployed == {}
    await api.send("DELETE", "/api/v1/labs/one", status=204)


async def test_what_an_agent_that_died_left_can_be_destroyed_though_nobody_knows_the_lab(api: Api) -> None:
    api.machine.deployed["left"] = {}
    await api.send("DELETE", "/api/v1/labs/left", status=204)
    assert api.machine.deployed == {}
    api.keeper.state = "down"
    await api.send("DELETE", "/api/v1/labs/left", status=503)
    api.keeper.state = "up"


async def test_destroy_while_deploying_leaves_nothing(api: Api) -> None:
    api.machine.hold = asyncio.Event()
    await api.send("POST", "/api/v1/labs", {"name": "one", "topology": SMALL}, 202)
    assert (await api.send("DELETE", "/api/v1/labs/one", status=202))["state"] == "destroying"
    api.machine.hold.set()
    await Api.until(lambda: api.send("GET", "/api/v1/labs"), lambda labs: labs["labs"] == [])
    assert api.machine.deployed == {}


async def test_a_host_shows_its_interfaces_and_counters_and_runs_commands(api: Api) -> None:
    await api.lab("one")
    host = await api.send("GET", "/api/v1/labs/one/hosts/middle")
    assert host["interfaces"][0]["address"] == "10.1.0.1"
    counters = await api.send("GET", "/api/v1/labs/one/hosts/middle/counters")
    assert counters == {"counters": {"udp.InDatagrams": 7}}
    answer = await api.send("POST", "/api/v1/labs/one/hosts/middle/exec", {"argv": ["echo", "$(touch x)"]})
    assert answer == {"exit": 0, "stdout": "echo $(touch x)", "stderr": "", "truncated": False}


async def test_a_host_has_metrics(api: Api) -> None:
    await api.lab("one")
    async with api.client.get("/api/v1/labs/one/hosts/middle/metrics") as answer:
        assert answer.content_type == "text/plain"
        assert "transship_workloads" in await answer.text()


async def test_a_rate_is_replaced(api: Api) -> None:
    await api.lab("one")
    path = "/api/v1/labs/one/networks/ring-a"
    assert (await api.send("PUT", path, {"rate_mbps": 50}))["rate_mbps"] == 50
    assert (await api.send("PUT", path, {"rate_mbps": None}))["rate_mbps"] is None
    assert (await api.send("GET", path))["rate_mbps"] is None


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        ({"rate_mbps": 0}, "rate_mbps", "must be greater than or equal to 1, not 0"),
        ({"rate_mbps": -5}, "rate_mbps", "not -5"),
        ({"rate_mbps": 20000}, "rate_mbps", "less than or equal to 10000"),
        ({"rate_mbps": "10"}, "rate_mbps", 'not "10"'),
        ({"rate": 10}, "rate_mbps", "required"),
        ({"rate_mbps": 1, "delay": 3}, "delay", "unknown field"),
    ],
)
async def test_a_bad_rate_names_field_value_and_what_is_allowed(
    api: Api, body: dict[str, Any], field: str, says: str
) -> None:
    await api.lab("one")
    problem = await api.send("PUT", "/api/v1/labs/one/networks/ring-a", body, 422)
    assert problem["field"] == field
    assert says in problem["detail"]


@pytest.mark.parametrize("name", ["-rf", "$(touch x)", "", "A", "a" * 32, "a/b", "ünder", "a\n"])
async def test_a_bad_lab_name_is_refused(api: Api, name: str) -> None:
    problem = await api.send("POST", "/api/v1/labs", {"name": name, "topology": "two-fddi"}, 422)
    assert problem["field"] == "name"
    assert json.dumps(name)[:10] in problem["detail"]


@pytest.mark.parametrize(
    ("topology", "field"),
    [
        ("../../etc/passwd", "topology"),
        ("/etc/passwd.yaml", "topology"),
        ("x.py:Evil", "topology"),
        ("chain,1", "topology.chain"),
        (5, "topology"),
        ({**SMALL, "hosts": {"-rf": {}}}, "topology.hosts.-rf"),
        ({**SMALL, "colour": 1}, "topology.colour"),
    ],
)
async def test_a_bad_topology_names_the_place(api: Api, topology: Any, field: str) -> None:
    problem = await api.send("POST", "/api/v1/labs", {"name": "one", "topology": topology}, 422)
    assert problem["field"].startswith(field)
    assert api.machine.deployed == {}


async def test_what_is_not_there_is_named(api: Api) -> None:
    await api.lab("one")
    assert "'none'" in (await api.send("GET", "/api/v1/labs/none", status=404))["detail"]
    problem = await api.send("GET", "/api/v1/labs/one/hosts/none", status=404)
    assert "'none'" in problem["detail"] and "middle" in problem["detail"]
    problem = await api.send("PUT", "/api/v1/labs/one/networks/none", {"rate_mbps": 1}, 404)
    assert "ring-a" in problem["detail"]


async def test_the_death_of_the_machine_agent_fails_its_labs(api: Api) -> None:
    await api.lab("one")
    api.keeper.die()
    lab = await api.send("GET", "/api/v1/labs/one")
    assert (lab["state"], "SIGKILL" in lab["message"]) == ("failed", True)
    await api.send("DELETE", "/api/v1/labs/one", status=202)
    await Api.until(lambda: api.send("GET", "/api/v1/labs"), lambda labs: labs["labs"] == [])


async def test_a_host_agent_that_hangs_is_marked_on_its_host_and_told(api: Api) -> None:
    await api.lab("one")
    assert (await api.send("GET", "/api/v1/labs/one/hosts/middle"))["agent"] == {
        "state": "none",
        "message": "",
    }
    async with api.client.get("/api/v1/events") as events:
        words = "the host agent of one/middle (pid 7) did not answer for 20 s: it is stopped, and was killed"
        about = {"lab": "one", "host": "middle", "state": "failed", "message": words}
        api.machine.news.put_nowait({"number": 1, **about})
        api.machine.news.put_nowait({"number": 2, **about, "lab": "gone"})
        while (line := await events.content.readline()) != b"event: agent\n":
            assert line
        assert json.loads((await events.content.readline()).removeprefix(b"data: ")) == about
    host = await api.send("GET", "/api/v1/labs/one/hosts/middle")
    assert host["agent"] == {"state": "failed", "message": words}
