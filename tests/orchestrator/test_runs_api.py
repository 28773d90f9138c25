"""Runs over REST: queued, executed one at a time, cancelled, cleaned up after, and what they leave."""

import asyncio
from typing import Any

import pytest

from tests.orchestrator.api import Api
from tests.orchestrator.fakes import PNG


async def until_measuring(api: Api, run_id: str) -> None:
    await Api.until(
        lambda: api.send("GET", f"/api/v1/runs/{run_id}"),
        lambda run: run["progress"] is not None and run["progress"]["phase"] == "trials",
    )


async def test_a_run_deploys_its_own_lab_leaves_its_files_and_destroys_the_lab(api: Api) -> None:
    run = await api.run("fddi", quick=True)
    assert (run["state"], run["verdict"], run["progress"]) == ("done", "reproduced", None)
    assert run["lab"] == f"fddi-{run['id'][-6:]}"
    assert api.machine.deployed == {}
    path = f"/api/v1/runs/{run['id']}"
    assert (await api.send("GET", f"{path}/result"))["verdict"] == "reproduced"
    async with api.client.get(f"{path}/figure") as answer:
        assert answer.content_type == "image/png"
        assert await answer.read() == PNG
    async with api.client.get(f"{path}/trials") as answer:
        assert (await answer.text()).splitlines() == ['{"trial": 1}', '{"trial": 2}']
    assert [one["id"] for one in (await api.send("GET", "/api/v1/runs"))["runs"]] == [run["id"]]


async def test_a_given_lab_is_used_kept_and_safe_from_others_meanwhile(api: Api) -> None:
    await api.lab("mine")
    run = await api.send("POST", "/api/v1/runs", {"experiment": "endless", "lab": "mine"}, 202)
    await until_measuring(api, run["id"])
    problem = await api.send("DELETE", "/api/v1/labs/mine", status=409)
    assert run["id"] in problem["detail"]
    await api.send("DELETE", f"/api/v1/runs/{run['id']}", status=202)
    assert (await api.ended(run["id"]))["state"] == "cancelled"
    assert (await api.send("GET", "/api/v1/labs/mine"))["run"] is None
    assert (await api.run("fddi", lab="mine"))["state"] == "done"
    assert "mine" in api.machine.deployed


async def test_runs_are_executed_one_at_a_time_in_order(api: Api) -> None:
    ids = [(await api.send("POST", "/api/v1/runs", {"experiment": "fddi"}, 202))["id"] for _ in range(4)]
    for run_id in ids:
        await api.ended(run_id)
    assert api.engine.most_at_once == 1
    assert api.engine.done == ids


async def test_a_running_and_a_queued_run_are_cancelled_and_nothing_is_left(api: Api) -> None:
    first = await api.send("POST", "/api/v1/runs", {"experiment": "endless"}, 202)
    second = await api.send("POST", "/api/v1/runs", {"experiment": "fddi"}, 202)
    await until_measuring(api, first["id"])
    assert (await api.send("DELETE", f"/api/v1/runs/{second['id']}", status=202))["state"] == "cancelled"
    await api.send("DELETE", f"/api/v1/runs/{first['id']}", status=202)
    assert (await api.ended(first["id"]))["state"] == "cancelled"
    assert api.machine.deployed == {}
    problem = await api.send("DELETE", f"/api/v1/runs/{first['id']}", status=409)
    assert "cancelled" in problem["detail"]
    assert api.engine.done == [first["id"]]


async def test_cancelled_while_its_lab_is_being_deployed_it_leaves_nothing(api: Api) -> None:
    api.machine.hold = asyncio.Event()
    run = await api.send("POST", "/api/v1/runs", {"experiment": "fddi"}, 202)
    await Api.until(lambda: api.send("GET", "/api/v1/labs"), lambda labs: labs["labs"] != [])
    await api.send("DELETE", f"/api/v1/runs/{run['id']}", status=202)
    api.machine.hold.set()
    assert (await api.ended(run["id"]))["state"] == "cancelled"
    assert api.machine.deployed == {}
    assert (await api.send("GET", "/api/v1/labs"))["labs"] == []


@pytest.mark.parametrize(
    ("experiment", "state", "says"),
    [
        ("invalid", "invalid", ""),
        ("broken", "failed", "nothing was sent"),
        ("full", "failed", "no space left"),
    ],
)
async def test_how_a_run_ends_is_told(api: Api, experiment: str, state: str, says: str) -> None:
    run = await api.run(experiment)
    assert run["state"] == state
    assert says in run["message"]
    assert api.machine.deployed == {}


async def test_a_lab_that_cannot_be_deployed_fails_the_run_with_the_reason(api: Api) -> None:
    api.machine.refuse = "cgroup is read-only"
    run = await api.run("fddi")
    assert run["state"] == "failed"
    assert "cgroup is read-only" in run["message"]
    assert (await api.send("GET", "/api/v1/labs"))["labs"] == []


async def test_the_death_of_the_machine_agent_fails_the_run_and_names_it(api: Api) -> None:
    run = await api.send("POST", "/api/v1/runs", {"experiment": "endless"}, 202)
    await until_measuring(api, run["id"])
    api.keeper.die()
    ended = await api.ended(run["id"])
    assert ended["state"] == "failed"
    assert "killed by SIGKILL" in ended["message"]
    assert (await api.send("GET", "/api/v1/labs"))["labs"] == []
    assert (await api.run("fddi"))["state"] == "done"


async def test_results_before_the_end_are_a_conflict_and_without_one_not_found(api: Api) -> None:
    run = await api.send("POST", "/api/v1/runs", {"experiment": "endless"}, 202)
    path = f"/api/v1/runs/{run['id']}"
    for what in ("result", "figure"):
        assert f"no {what} yet" in (await api.send("GET", f"{path}/{what}", status=409))["detail"]
    async with api.client.get(f"{path}/trials") as answer:
        assert (answer.status, await answer.text()) == (200, "")
    await api.send("DELETE", path, status=202)
    await api.ended(run["id"])
    assert "cancelled" in (await api.send("GET", f"{path}/figure", status=404))["detail"]


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        ({"experiment": "none"}, "experiment", "there are fddi"),
        (
            {"experiment": "fddi", "profile": "fast"},
            "profile",
            "'period', 'scaled' or 'modern', not \"fast\"",
        ),
        ({"experiment": "fddi", "trials": 0}, "trials", "not 0"),
        ({"experiment": "fddi", "trials": 1001}, "trials", "less than or equal to 1000"),
        ({"experiment": "fddi", "trials": 2.5}, "trials", "not 2.5"),
        ({"experiment": "fddi", "quick": "yes"}, "quick", 'not "yes"'),
        ({"experiment": "fddi", "speed": 1}, "speed", "unknown field"),
        ({"experiment": "fddi", "lab": "../x"}, "lab", "pattern"),
        ({}, "experiment", "required"),
        ([], None, "not []"),
    ],
)
async def test_a_bad_request_names_field_value_and_what_is_allowed(
    api: Api, body: Any, field: str | None, says: str
) -> None:
    problem = await api.send("POST", "/api/v1/runs", body, 422)
    assert problem["field"] == field
    assert says in problem["detail"]
    assert (await api.send("GET", "/api/v1/runs"))["runs"] == []


async def test_a_dry_run_says_how_long_it_would_take_and_does_nothing(api: Api) -> None:
    body = {"experiment": "fddi", "dry_run": True}
    found = await api.send("POST", "/api/v1/runs", body)
    assert found == {"experiment": "fddi", "combinations": 2, "trials": 2, "seconds": 75.0}
    body["experiment"] = "none"
    assert (await api.send("POST", "/api/v1/runs", body, 422))["field"] == "experiment"
    assert (await api.send("GET", "/api/v1/runs"))["runs"] == []


async def test_a_run_is_paused_leaves_nothing_and_goes_on(api: Api) -> None:
    run = await api.send("POST", "/api/v1/runs", {"experiment": "endless"}, 202)
    path = f"/api/v1/runs/{run['id']}"
    await until_measuring(api, run["id"])
    await api.send("POST", f"{path}/pause", status=202)
    await Api.until(lambda: api.send("GET", path), lambda seen: seen["state"] == "paused")
    assert api.machine.deployed == {}
    assert "no result yet" in (await api.send("GET", f"{path}/result", status=409))["detail"]
    assert "is not under way: it is paused" in (await api.send("POST", f"{path}/pause", status=409))["detail"]
    await api.send("POST", f"{path}/resume", status=202)
    ended = await api.ended(run["id"])
    assert (ended["state"], ended["message"], ended["lab"]) == ("done", "", f"endless-{run['id'][-6:]}")
    assert api.machine.deployed == {}
    problem = await api.send("POST", f"{path}/resume", status=409)
    assert "is done; runs that are paused, interrupted, failed or cancelled can go on" in problem["detail"]


async def test_a_queued_run_is_paused_before_it_began_and_keeps_its_lab(api: Api) -> None:
    await api.lab("mine")
    first = await api.send("POST", "/api/v1/runs", {"experiment": "endless"}, 202)
    second = await api.send("POST", "/api/v1/runs", {"experiment": "fddi", "lab": "mine"}, 202)
    path = f"/api/v1/runs/{second['id']}"
    await until_measuring(api, first["id"])
    assert (await api.send("POST", f"{path}/pause", status=202))["state"] == "paused"
    assert (await api.send("POST", f"{path}/resume", status=202))["state"] == "queued"
    await api.send("DELETE", f"/api/v1/runs/{first['id']}", status=202)
    assert (await api.ended(second["id"]))["state"] == "done"
    assert "mine" in api.machine.deployed
    for what in ("pause", "resume"):
        await api.send("POST", f"/api/v1/runs/20260101-000000-abcdef/{what}", status=404)


async def test_a_shipped_experiment_alone_has_profiles(api: Api) -> None:
    body = {"experiment": {"name": "mine"}, "profile": "period"}
    assert (await api.send("POST", "/api/v1/runs", body, 422))["field"] == "profile"


async def test_the_schema_of_ones_own_experiments_is_served(api: Api) -> None:
    async with api.client.get("/api/v1/experiments/schema") as answer:
        assert (answer.status, answer.content_type) == (200, "application/schema+json")
        assert (await answer.json(content_type=None))["title"] == "Document"


async def test_unknown_runs_and_labs_are_not_found(api: Api) -> None:
    for path in ("/api/v1/runs/none", "/api/v1/runs/..%2f..%2fetc", "/api/v1/runs/none/figure"):
        await api.send("GET", path, status=404)
    await api.send("DELETE", "/api/v1/runs/none", status=404)
    assert (await api.send("POST", "/api/v1/runs", {"experiment": "fddi", "lab": "no"}, 404))[
        "field"
    ] == "lab"
