"""Events: in order, resumable, and told to a slow client without holding anybody up."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from orchestrator.api import event_routes
from orchestrator.api.event_models import EVENTS
from orchestrator.events import EventBus
from tests.orchestrator.api import ENDED, Api
from tests.support import PATIENCE_S


async def frame(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    """The next event, its data as described, or {"comment": text}."""
    found: dict[str, Any] = {}
    async with asyncio.timeout(PATIENCE_S):
        while True:
            line = (await answer.content.readline()).decode().rstrip("\n")
            if not line:
                if "event" in found:
                    EVENTS[found["event"]].model_validate_json(json.dumps(found["data"]))
                return found
            name, _, value = line.partition(": ")
            found[name or "comment"] = json.loads(value) if name == "data" else value


async def test_a_run_is_followed_from_its_snapshot_to_its_end(api: Api) -> None:
    api.machine.hold = asyncio.Event()  # until somebody follows it, its lab is not ready
    run = await api.send("POST", "/api/v1/runs", {"experiment": "fddi"}, 202)
    kinds, seconds_left = [], []
    async with api.client.get(f"/api/v1/events?run={run['id']}") as answer:
        assert answer.content_type == "text/event-stream"
        first = await frame(answer)
        assert (first["event"], first["data"]["run"], "id" in first) == ("run", run["id"], False)
        api.machine.hold.set()
        state = first["data"]["state"]
        while state not in ENDED:
            event = await frame(answer)
            kinds.append(event["event"])
            if event["event"] == "run":
                state = event["data"]["state"]
            elif event["event"] == "progress":
                seconds_left.append(event["data"].get("seconds_left"))
    assert state == "done"
    assert {"run", "lab", "progress"} <= set(kinds)
    assert 0.1 in seconds_left


async def test_a_client_resumes_after_the_last_event_it_saw(api: Api) -> None:
    await api.lab("one")
    async with api.client.get("/api/v1/events") as answer:
        assert (await frame(answer))["comment"] == "connected"
        await api.lab("two")
        seen = await frame(answer)
    await api.lab("three")
    async with api.client.get("/api/v1/events", headers={"Last-Event-ID": seen["id"]}) as answer:
        await frame(answer)
        missed = [(await frame(answer))["data"] for _ in range(3)]
    assert [(lab["lab"], lab["state"]) for lab in missed] == [
        ("two", "ready"),
        ("three", "deploying"),
        ("three", "ready"),
    ]


@pytest.mark.parametrize("label", ["00000000-1", "nonsense", "", "-"])
async def test_an_id_of_another_process_makes_a_gap(api: Api, label: str) -> None:
    async with api.client.get("/api/v1/events", headers={"Last-Event-ID": label}) as answer:
        assert (await frame(answer))["event"] == "gap"


async def test_silence_is_broken_by_a_heartbeat(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_routes, "HEARTBEAT_S", 0.01)
    async with api.client.get("/api/v1/events") as answer:
        await frame(answer)
        assert (await frame(answer))["comment"] == "heartbeat"


async def test_an_unknown_run_is_not_found_and_a_bad_one_refused(api: Api) -> None:
    await api.send("GET", "/api/v1/events?run=20260101-000000-abcdef", status=404)
    assert (await api.send("GET", "/api/v1/events?run=x", status=422))["field"] == "run"
    assert (await api.send("GET", "/api/v1/events?colour=x", status=422))["field"] == "colour"


async def test_only_the_newest_events_are_kept_and_the_loss_is_known() -> None:
    bus = EventBus(keep=3)
    for number in range(5):
        bus.publish("lab", {"number": number})
    missed, events = bus.since(1)
    assert (missed, [event.number for event in events]) == (True, [3, 4, 5])
    assert bus.since(2) == (False, events)
    assert bus.since(5) == (False, [])


async def test_followers_end_when_the_bus_closes() -> None:
    bus = EventBus()
    waiting = asyncio.create_task(bus.wait_beyond(0, 60))
    await asyncio.sleep(0)
    bus.close()
    assert await asyncio.wait_for(waiting, PATIENCE_S)
