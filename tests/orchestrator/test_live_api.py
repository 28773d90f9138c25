"""The live feed: what samples say, who shares them, and how it ends."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from agents.errors import AgentError
from orchestrator.api import event_routes, live_routes
from orchestrator.api.live_models import LIVE_EVENTS
from orchestrator.connection import Event, Reader
from orchestrator.live import feed
from tests.orchestrator.api import Api
from tests.support import PATIENCE_S, eventually

PATH = "/api/v1/labs/one/live"


class Follower:
    """What a reader of the feed gets, each checked against its description."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer
        self._reader = Reader()
        self._events: list[Event] = []

    async def next(self) -> Event:
        """The next event."""
        async with asyncio.timeout(PATIENCE_S):
            while not self._events:
                data = await self.answer.content.readany()
                assert data, "the feed ended"
                self._events += self._reader.feed(data)
        event = self._events.pop(0)
        LIVE_EVENTS[event.kind].model_validate_json(json.dumps(event.data))
        return event

    async def sample(self) -> dict[str, Any]:
        """The next event, which is a sample."""
        event = await self.next()
        assert event.kind == "sample", event
        return event.data


@asynccontextmanager
async def following(api: Api, every_s: float = 0.1) -> AsyncIterator[Follower]:
    async with api.client.get(f"{PATH}?every_s={every_s:g}") as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream"), await answer.text()
        yield Follower(answer)


async def start(api: Api, host: str = "middle") -> Any:
    body = {"workload": "sink", "port": 5}
    return await api.send("POST", f"/api/v1/labs/one/hosts/{host}/workloads", body, 201)


async def test_a_sample_at_once_and_then_rates(api: Api) -> None:
    await api.lab("one")
    sink = await start(api)
    async with following(api) as follower:
        first, second = await follower.sample(), await follower.sample()
    assert (first["lab"], first["at"], first["over_s"], second["over_s"]) == ("one", 1790000000.5, None, 0.5)
    ring = {"state": "running", "rate_mbps": 100.0, "medium": "shared", "backlog_bytes": 1234, "loss": 0.0}
    links = dict.fromkeys(("source", "middle", "sink"))
    unknown = {"state": "running", "mbps_to": None, "mbps_from": None}
    assert first["networks"]["ring-a"] == {
        **{**ring, "mbps": None, "drops_per_s": None, "links": dict.fromkeys(links, unknown)},
    }
    known = {"state": "running", "mbps_to": 10.0, "mbps_from": 0.0}
    assert second["networks"]["ring-a"] == {
        **{**ring, "mbps": 50.0, "drops_per_s": {}, "links": dict.fromkeys(links, known)},
    }
    middle = second["hosts"]["middle"]
    assert middle.pop("workloads") == [
        {
            **{"id": sink["id"], "workload": "sink", "system": "linux", "state": "running"},
            **{"mbps_in": 10.0, "mbps_out": 0.0, "datagrams_in_per_s": 290.0, "datagrams_out_per_s": 0.0},
            **{"loss": 0.25, "lost": 100},
        }
    ]
    assert middle == {
        **{"state": "running", "hogs": 0, "cpu": {"io": 0.4, "hogs": 0.0, "agent": 0.0}},
        **{"containers": {"free": 100}, "rings": {"udp9000": 3}, "drops_per_s": {"socket_buffer": 8.0}},
    }
    assert first["hosts"]["middle"]["workloads"][0]["mbps_out"] is None
    idle: dict[str, Any] = {"containers": {}, "rings": {}, "drops_per_s": {}, "workloads": []}
    for name in ("source", "sink"):
        host = second["hosts"][name]
        assert {"state": "idle", "hogs": 0, "cpu": host["cpu"], **idle} == host


async def test_what_changes_is_seen(api: Api) -> None:
    await api.lab("one")
    await start(api)
    async with following(api) as follower:
        await follower.sample()
        await api.send("POST", "/api/v1/labs/one/networks/ring-a/cut")
        await api.send("POST", "/api/v1/labs/one/hosts/source/stop")
        api.machine.dead.add(("one", "middle"))
        while (sample := await follower.sample())["hosts"]["middle"]["state"] != "failed":
            pass
        ring = (await follower.sample())["networks"]["ring-a"]
    assert (ring["state"], ring["drops_per_s"]) == ("cut", {"cut": 10.0})
    assert sample["hosts"]["source"]["state"] == "stopped"
    unknown = {"hogs": None, "containers": None, "rings": None, "drops_per_s": None, "workloads": None}
    dead = sample["hosts"]["middle"]
    assert dead == {"state": "failed", "cpu": dead["cpu"], **unknown}


async def test_readers_share_a_sampler_which_ends_with_the_last(api: Api) -> None:
    await api.lab("one")
    async with following(api) as one, following(api) as other:
        seen = [(await one.sample())["at"], (await one.sample())["at"]]
        while (at := (await other.sample())["at"]) < seen[-1]:
            pass
        assert at - 1790000000 <= api.machine.looks["one"] * 0.5
        looks = api.machine.looks["one"]
        async with following(api, 60) as third:  # at its own interval, and still at once
            assert (await third.sample())["over_s"] is None
    names = {task.get_name() for task in asyncio.all_tasks()}
    assert looks > 1 and "samples of one" in names

    def ended() -> bool:
        return not any(task.get_name() == "samples of one" for task in asyncio.all_tasks())

    await eventually(ended, "the samplers to end with their readers")


async def test_the_end_of_a_lab_ends_its_feed(api: Api) -> None:
    await api.lab("one")
    async with following(api, 60) as follower:
        await follower.sample()
        await api.send("DELETE", "/api/v1/labs/one", status=202)
        assert await follower.next() == Event("lab", {"lab": "one", "state": "destroyed"})
        assert await follower.answer.content.read() == b""
    await api.lab("one")
    async with following(api, 60) as follower:
        await follower.sample()
        api.keeper.die()
        assert (await follower.next()).data["state"] == "failed"


async def test_a_run_is_watched_too(api: Api) -> None:
    await api.lab("one")
    run = await api.send("POST", "/api/v1/runs", {"experiment": "endless", "lab": "one"}, 202)
    async with following(api) as follower:
        await follower.sample()
        assert (await follower.sample())["over_s"] == 0.5
    await api.send("DELETE", f"/api/v1/runs/{run['id']}", status=202)
    await api.ended(run["id"])


async def test_a_look_that_fails_is_left_out(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    await api.lab("one")
    look, failed = api.machine.look, asyncio.Event()

    async def sometimes(lab: str) -> Any:
        if api.machine.looks["one"] == 1 and not failed.is_set():
            failed.set()
            raise AgentError(409, "it is being changed")
        return await look(lab)

    monkeypatch.setattr(api.machine, "look", sometimes)
    async with following(api) as follower:
        await follower.sample()
        assert (await follower.sample())["over_s"] == 0.5
    assert failed.is_set()


@pytest.fixture
def large(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples that do not fit into the buffers between the two sides, but for one or two."""
    look = api.machine.look

    async def padded(lab: str) -> Any:
        found = await look(lab)
        found["hosts"].update({f"{number:1000}": found["hosts"]["sink"] for number in range(4_000)})
        return found

    monkeypatch.setattr(api.machine, "look", padded)


@pytest.mark.usefixtures("large")
async def test_a_slow_reader_gets_the_newest(api: Api) -> None:
    await api.lab("one")
    async with following(api) as follower:
        # It reads nothing meanwhile.
        await eventually(lambda: api.machine.looks["one"] >= 8, "samples to be taken")
        before = (await follower.sample())["at"]
        while (at := (await follower.sample())["at"]) - before == 0.5:
            before = at
        assert at - before > 0.5


@pytest.mark.usefixtures("large")
async def test_a_reader_that_stalls_is_given_up(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    await api.lab("one")
    monkeypatch.setattr(live_routes, "STALLED_S", 0.2)
    async with following(api) as follower:
        await eventually(
            lambda: not any(task.get_name() == "samples of one" for task in asyncio.all_tasks()),
            "the reader to be given up",
        )
        with pytest.raises((aiohttp.ClientError, AssertionError)):
            while True:
                await follower.next()


async def test_silence_is_broken_by_a_heartbeat(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_routes, "HEARTBEAT_S", 0.01)
    await api.lab("one")
    async with following(api, 60) as follower:
        await follower.sample()
        line = await asyncio.wait_for(follower.answer.content.readline(), PATIENCE_S)
        assert line == b": heartbeat\n"


async def test_what_cannot_be_watched_is_refused(api: Api) -> None:
    await api.send("GET", PATH, status=404)
    await api.lab("one")
    for query, field in (("every_s=0.05", "every_s"), ("every_s=nan", "every_s"), ("every_s=61", "every_s")):
        assert (await api.send("GET", f"{PATH}?{query}", status=422))["field"] == field
    assert (await api.send("GET", f"{PATH}?colour=x", status=422))["field"] == "colour"
    api.keeper.state = "down"
    await api.send("GET", PATH, status=503)
    api.keeper.state = "up"
    api.machine.hold = asyncio.Event()
    await api.send("POST", "/api/v1/labs", {"name": "two", "topology": "two-fddi"}, 202)
    assert (await api.send("GET", "/api/v1/labs/two/live", status=409))["field"] == "lab"
    api.machine.hold.set()


async def test_a_lab_is_read_at_few_intervals_at_once(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "INTERVALS", 2)
    await api.lab("one")
    async with following(api, 1), following(api, 60), following(api, 60):
        refused = await api.send("GET", f"{PATH}?every_s=2", status=409)
    assert refused["field"] == "every_s" and "at 2 intervals already: 1, 60" in refused["detail"]


async def test_the_end_of_the_server_ends_the_feed(api: Api) -> None:
    await api.lab("one")
    async with following(api, 60) as follower:
        await follower.sample()
        assert api.client.app is not None
        await api.client.app.shutdown()
        assert await asyncio.wait_for(follower.answer.content.read(), PATIENCE_S) == b""
