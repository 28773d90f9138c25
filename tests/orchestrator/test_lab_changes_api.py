"""Labs changed over REST while they stand: another topology, rates and losses, cuts, stopped hosts."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.shipped import as_json
from tests.orchestrator.api import Api
from tests.orchestrator.processes import FAKE_SERVER, address_of, cli, started
from tests.orchestrator.test_events import frame
from topologies import resolve

RING = "/api/v1/labs/one/networks/ring-a"
LAB = "/api/v1/labs/one"


def without_sink() -> dict[str, Any]:
    """two-fddi without its sink, and with one host more."""
    topology = as_json(resolve("two-fddi"))
    del topology["hosts"]["sink"]
    topology["hosts"]["extra"] = {}
    topology["networks"]["ring-b"]["stations"] = ["middle", "extra"]
    return topology


async def test_a_network_is_given_losses_which_the_next_put_without_them_ends(api: Api) -> None:
    await api.lab("one")
    ring = await api.send("PUT", RING, {"rate_mbps": 50, "loss": 0.1, "seed": 7})
    assert (ring["rate_mbps"], ring["loss"], ring["seed"], ring["cut"]) == (50, 0.1, 7, False)
    assert (await api.send("GET", LAB))["networks"][0] == ring
    ring = await api.send("PUT", RING, {"rate_mbps": 50})
    assert (ring["loss"], ring["seed"]) == (0, 0)


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        ({"loss": 2}, "loss", "must be less than or equal to 1, not 2"),
        ({"loss": "0.1"}, "loss", 'not "0.1"'),
        ({"seed": -1}, "seed", "not -1"),
        ({"seed": 1.5}, "seed", "not 1.5"),
        ({"delay_ms": 1e9}, "delay_ms", "10000"),
        ({"delay_ms": 1, "jitter_ms": 2}, "jitter_ms", "must be at most delay_ms (1), not 2"),
    ],
)
async def test_a_bad_impairment_names_field_value_and_what_is_allowed(
    api: Api, body: dict[str, Any], field: str, says: str
) -> None:
    await api.lab("one")
    problem = await api.send("PUT", RING, {"rate_mbps": 10, **body}, 422)
    assert problem["field"] == field
    assert says in problem["detail"]


async def test_networks_and_links_are_cut_and_healed_and_hosts_stopped_and_started(api: Api) -> None:
    await api.lab("one")
    link = f"{LAB}/hosts/middle/links/ring-a"
    async with api.client.get("/api/v1/events") as events:
        await frame(events)
        assert (await api.send("POST", f"{RING}/cut"))["cut"]
        assert not (await api.send("POST", f"{RING}/heal"))["cut"]
        assert (await api.send("POST", f"{link}/cut"))["cut"]
        assert (await api.send("GET", f"{LAB}/hosts/middle"))["interfaces"][0]["cut"]
        assert not (await api.send("POST", f"{link}/heal"))["cut"]
        assert (await api.send("POST", f"{LAB}/hosts/sink/stop"))["state"] == "stopped"
        assert (await api.send("POST", f"{LAB}/hosts/sink/start"))["state"] == "running"
        await api.send("PUT", RING, {"rate_mbps": 50, "loss": 0.5})
        told = [await frame(events) for _ in range(7)]
    assert [(event["event"], event["data"].get("host"), event["data"]["state"]) for event in told] == [
        ("network", None, "cut"),
        ("network", None, "healed"),
        ("network", "middle", "cut"),
        ("network", "middle", "healed"),
        ("host", "sink", "stopped"),
        ("host", "sink", "running"),
        ("network", None, "changed"),
    ]
    assert (told[-1]["data"]["rate_mbps"], told[-1]["data"]["loss"]) == (50, 0.5)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("networks/none/cut", "it has ring-a, ring-b"),
        ("hosts/none/stop", "has no host 'none'"),
        ("hosts/sink/links/none/cut", "no network 'none'"),
        ("hosts/middle/links/ring-b/heal", "is not in the network 'ring-b'; it is in ring-a"),
    ],
)
async def test_what_is_not_there_is_named(api: Api, path: str, says: str) -> None:
    await api.lab("one")
    assert says in (await api.send("POST", f"{LAB}/{path}", status=404))["detail"]


async def test_a_network_tells_what_it_has_counted(api: Api) -> None:
    await api.lab("one")
    port = (await api.send("GET", f"{LAB}/hosts/sink"))["interfaces"][0]["port"]
    assert (await api.send("GET", f"{RING}/counters")) == {"counters": {f"{port}.cut_in_drops": 5}}
    await api.send("GET", f"{LAB}/networks/none/counters", status=404)


async def test_a_topology_is_compared_and_then_applied(api: Api) -> None:
    await api.lab("one")
    body = {"topology": without_sink()}
    seen = await api.send("PUT", f"{LAB}?dry_run=true", body)
    changes = [(change["change"], change["name"]) for change in seen["changes"]]
    assert (seen["lab"], changes) == ("one", [("remove", "sink"), ("add", "extra")])
    assert "sink" in (await api.send("GET", LAB))["hosts"]
    api.machine.hold = asyncio.Event()
    assert (await api.send("PUT", LAB, body, 202))["state"] == "changing"
    problem = await api.send("PUT", LAB, body, 409)
    assert problem["detail"] == "the lab 'one' is changing"
    api.machine.hold.set()
    lab = await Api.until(lambda: api.send("GET", LAB), lambda lab: lab["state"] == "ready")
    assert (lab["hosts"], lab["message"]) == (["source", "middle", "extra"], "")
    assert (await api.send("PUT", f"{LAB}?dry_run=1", {"topology": without_sink()}))["changes"] == []
    await api.send("PUT", "/api/v1/labs/none", body, 404)
    await api.send("PUT", f"{LAB}?dry_run=perhaps", body, 422)
    problem = await api.send("PUT", LAB, {"topology": "none"}, 422)
    assert problem["field"] == "topology"


async def test_a_change_that_fails_says_why_and_the_lab_is_as_it_was(api: Api) -> None:
    await api.lab("one")
    api.machine.refuse = "lab 'one' stays as it was: no more veths"
    await api.send("PUT", LAB, {"topology": without_sink()}, 202)
    lab = await Api.until(lambda: api.send("GET", LAB), lambda lab: lab["state"] != "changing")
    assert (lab["state"], lab["message"]) == ("ready", api.machine.refuse)
    assert "sink" in lab["hosts"]


async def test_a_lab_that_is_neither_has_failed_and_can_be_destroyed(api: Api) -> None:
    await api.lab("one")
    api.machine.spoil = "lab 'one' is changed only in part, destroy it: no more veths"
    await api.send("PUT", LAB, {"topology": without_sink()}, 202)
    lab = await Api.until(lambda: api.send("GET", LAB), lambda lab: lab["state"] != "changing")
    assert (lab["state"], lab["message"]) == ("failed", api.machine.spoil)
    await api.send("DELETE", LAB, status=202)
    await Api.until(lambda: api.send("GET", "/api/v1/labs"), lambda labs: labs["labs"] == [])


async def test_a_lab_that_a_run_uses_is_not_changed(api: Api) -> None:
    await api.lab("one")
    run = await api.send("POST", "/api/v1/runs", {"experiment": "endless", "lab": "one"}, 202)
    await Api.until(lambda: api.send("GET", LAB), lambda lab: lab["run"] is not None)
    for path in (LAB, f"{LAB}?dry_run=true"):
        problem = await api.send("PUT", path, {"topology": without_sink()}, 409)
        assert f"in use by the run {run['id']}" in problem["detail"]
    await api.send("POST", f"{LAB}/hosts/sink/stop", status=409)
    assert (await api.send("POST", f"{RING}/cut"))["cut"]
    await api.send("DELETE", f"/api/v1/runs/{run['id']}", status=202)
    await api.ended(run["id"])


async def test_a_lab_lost_while_it_changes_has_failed_with_the_reason(api: Api) -> None:
    await api.lab("one")
    api.machine.hold = asyncio.Event()
    await api.send("PUT", LAB, {"topology": without_sink()}, 202)
    api.keeper.die()
    api.machine.hold.set()
    lab = await api.send("GET", LAB)
    assert (lab["state"], "SIGKILL" in lab["message"]) == ("failed", True)
    await api.send("DELETE", LAB, status=202)
    await Api.until(lambda: api.send("GET", "/api/v1/labs"), lambda labs: labs["labs"] == [])


def test_the_command_line_changes_a_lab(tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text(json.dumps(without_sink()))
    with started(*FAKE_SERVER, "--listen", "127.0.0.1:0", "--state", str(tmp_path / "state")) as process:
        at = ("--server", address_of(process))

        def said(*arguments: str, status: int = 0) -> str:
            answer = cli(tmp_path, *arguments, *at)
            assert answer.returncode == status, answer.stderr
            return answer.stdout if status == 0 else answer.stderr

        said("deploy", "two-fddi", "--name", "one")
        assert said("set", "one", "ring-a", "--loss", "0.1", "--seed", "7") == (
            "network ring-a of one: 100 Mb/s, loss 0.1 (seed 7)\n"
        )
        assert "no limit, loss 0.1 (seed 7)" in said("set", "one", "ring-a", "--rate", "none")
        assert "--rate 'fast'" in said("set", "one", "ring-a", "--rate", "fast", status=2)
        assert "at least one" in said("set", "one", "ring-a", status=2)
        assert said("cut", "one", "ring-b") == "network ring-b of one: cut\n"
        assert said("cut", "one", "ring-a", "middle") == "link of middle to ring-a of one: cut\n"
        assert said("stop", "one", "sink") == "host sink of one: stopped\n"
        shown = said("inspect", "one")
        assert "sink (stopped)" in shown and "ring-b (cut)" in shown and "ring-a (cut)" in shown
        assert said("heal", "one", "ring-b") == "network ring-b of one: healed\n"
        assert said("heal", "one", "ring-a", "middle") == "link of middle to ring-a of one: healed\n"
        assert said("start", "one", "sink") == "host sink of one: running\n"
        assert "no network 'none'" in said("cut", "one", "none", status=1)
        assert said("apply", str(other), "--name", "one", "--dry-run") == (
            "- host sink\n+ host extra\nlab one: would be changed so\n"
        )
        assert said("apply", str(other), "--name", "one").endswith("lab one: changed\n")
        assert said("apply", str(other), "--name", "one") == "lab one: nothing to change\n"
        assert "there is no lab 'two'" in said("apply", str(other), "--name", "two", status=1)
        said("destroy", "one")
