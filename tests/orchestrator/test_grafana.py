"""Annotations: what is told to Grafana, in its words, and that nobody waits for it.

No Grafana can be had where these tests run: what stands in for it has its annotation API alone
(POST /api/annotations: time, timeEnd in milliseconds, tags, text), as documented.
"""

import asyncio
import logging
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import encode_basic_auth, web
from aiohttp.test_utils import TestServer

from dashboards.grafana.layout import COLOURS
from dashboards.grafana.layout import TAG as ASKED
from orchestrator.access import AccessError
from orchestrator.annotations import LONGEST, TAG, Annotation, Annotations
from orchestrator.events import Event, EventBus
from orchestrator.grafana import WAITING, Annotator, Grafana, Refused, grafana_at, writer
from tests.orchestrator.conftest import served
from tests.orchestrator.processes import FAKE_SERVER, address_of, cli, started, until_ended
from tests.support import eventually, wait_until

TOKEN = "glsa_0123456789abcdef0123456789abcdef"
USER = ("admin", "0123456789abcdef0123456789abcdef")
TRIAL = {
    "number": 4,
    "system": "shipping",
    "hogs": 2,
    "valid": True,
    "reasons": [],
    "throughput_mbps": 45.81,
    "loss": 0.5,
}


class StandIn:
    """Grafana's annotation API. `status` is what it answers instead of taking an annotation."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.refused = 0
        self.status: int | None = None

    async def post(self, request: web.Request) -> web.Response:
        if self.status is not None:
            self.refused += 1
            raise web.HTTPFound("/elsewhere") if self.status == 302 else _error(self.status)
        if request.headers.get("Authorization") not in (f"Bearer {TOKEN}", encode_basic_auth(*USER)):
            raise _error(401)
        self.taken.append(await request.json())
        return web.json_response({"message": "Annotation added", "id": len(self.taken)})

    def texts(self) -> list[str]:
        return [one["text"] for one in self.taken]


async def elsewhere(request: web.Request) -> web.Response:
    """Whoever follows a redirection takes this for success."""
    return web.json_response({"id": 1})


def _error(status: int) -> web.HTTPException:
    error = {400: web.HTTPBadRequest, 401: web.HTTPUnauthorized, 503: web.HTTPServiceUnavailable}[status]
    return error(text='{"message": "no"}', content_type="application/json")


@asynccontextmanager
async def stand_in() -> AsyncIterator[tuple[StandIn, Grafana]]:
    grafana = StandIn()
    app = web.Application()
    app.router.add_post("/under/api/annotations", grafana.post)
    app.router.add_get("/elsewhere", elsewhere)
    async with TestServer(app) as server:
        yield grafana, Grafana(str(server.make_url("/under")), TOKEN)


def made(*events: tuple[str, dict[str, Any]], run: str | None = None) -> list[Annotation]:
    """The annotations of events a second apart, the first at 100."""
    annotations = Annotations()
    return [
        one
        for number, (kind, data) in enumerate(events)
        for one in annotations.of(Event(number, kind, data, run, 100.0 + number))
    ]


def test_a_run_is_its_phases_its_trials_and_a_stretch() -> None:
    def progress(phase: str, trial: dict[str, Any] | None, **more: Any) -> tuple[str, dict[str, Any]]:
        return "progress", {"run": "r", "phase": phase, "done": 0, "total": 2, "trial": trial, **more}

    def run(state: str, verdict: str | None = None, message: str = "") -> tuple[str, dict[str, Any]]:
        return "run", {"run": "r", "state": state, "verdict": verdict, "message": message}

    bad = {**TRIAL, "number": 5, "valid": False, "reasons": ["books differ"], "throughput_mbps": None}
    events = [
        run("queued"),
        run("running"),
        progress("trials", None),
        progress("trials", None, happened="cut ring-b"),
        progress("trials", TRIAL),
        progress("trials", TRIAL),
        progress("result", bad),
        run("done", "not reproduced"),
    ]
    found = made(*events, run="r")
    assert [(one.text, one.begin, one.end) for one in found] == [
        ("run r begins", 101, None),
        ("run r: trials", 102, None),
        ("cut ring-b", 103, None),
        ("trial 4: shipping, 2 hogs: 45.8 Mb/s, 50.0 % lost", 102, 104),
        ("trial 5: shipping, 2 hogs; INVALID: books differ", 105, 106),
        ("run r: result", 106, None),
        ("run r is done: not reproduced", 101, 107),
    ]
    assert {one.tags for one in found} == {(TAG, "run", "run:r"), (TAG, "fault", "run:r")}


@pytest.mark.parametrize(
    ("kind", "data", "text", "tags"),
    [
        ("lab", {"lab": "l", "state": "ready", "message": ""}, "lab l is ready", ("change", "lab:l")),
        ("lab", {"lab": "l", "state": "failed", "message": "x"}, "lab l is failed: x", ("fault", "lab:l")),
        ("hogs", {"lab": "l", "host": "m", "hogs": 2}, "2 hogs on m", ("change", "lab:l", "host:m")),
        (
            "host",
            {"lab": "l", "host": "m", "state": "stopped"},
            "host m is stopped",
            ("fault", "lab:l", "host:m"),
        ),
        (
            "agent",
            {"lab": "l", "host": "m", "state": "failed", "message": "killed"},
            "the agent of host m failed: killed",
            ("fault", "lab:l", "host:m"),
        ),
        (
            "network",
            {"lab": "l", "network": "n", "host": None, "state": "cut"},
            "n is cut",
            ("fault", "lab:l", "network:n"),
        ),
        (
            "network",
            {"lab": "l", "network": "n", "host": "m", "state": "healed"},
            "the link of m to n is healed",
            ("change", "lab:l", "host:m", "network:n"),
        ),
        (
            "network",
            {"lab": "l", "network": "n", "host": None, "state": "changed", "rate_mbps": 50.0, "loss": 0.0},
            "n changed: rate_mbps 50.0",
            ("change", "lab:l", "network:n"),
        ),
        (
            "machine",
            {"machine": "local", "state": "starting", "message": "it died"},
            "the machine agent local is starting: it died",
            ("fault",),
        ),
    ],
)
def test_changes_and_faults_are_marked(
    kind: str, data: dict[str, Any], text: str, tags: tuple[str, ...]
) -> None:
    assert made((kind, data)) == [Annotation(text, (TAG, *tags), 100.0)]


def test_a_long_message_is_cut_and_what_says_nothing_is_left_out() -> None:
    (one,) = made(("lab", {"lab": "l", "state": "failed", "message": "x" * 1000}))
    assert len(one.text) == LONGEST
    quiet = ("agent", {"lab": "l", "host": "m", "state": "running", "message": ""})
    assert made(quiet, ("machine", {"machine": "local", "state": "up", "message": ""})) == []


def test_the_dashboards_ask_for_what_is_written() -> None:
    assert (ASKED, set(COLOURS)) == (TAG, {"run", "change", "fault"})


async def test_a_run_and_a_fault_are_in_grafana(tmp_path: Path) -> None:
    async with stand_in() as (grafana, place), served(tmp_path, grafana=place) as api:
        await api.lab("rings")
        await api.send("POST", "/api/v1/labs/rings/networks/ring-a/cut")
        await api.send("PUT", "/api/v1/labs/rings/hosts/middle/hogs", {"count": 3})
        run = await api.run("fddi")
        ended = f"run {run['id']} is done: reproduced"
        await eventually(lambda: ended in grafana.texts(), "the end of the run to be told")
        assert {"ring-a is cut", "3 hogs on middle", f"run {run['id']} begins"} <= set(grafana.texts())
        stretch = next(one for one in grafana.taken if one["text"] == ended)
        begun = next(one for one in grafana.taken if one["text"] == f"run {run['id']} begins")
        assert begun["time"] == stretch["time"] <= stretch["timeEnd"]
        assert stretch["tags"] == [TAG, "run", f"run:{run['id']}"]


async def test_a_user_may_write_as_well() -> None:
    async with stand_in() as (grafana, place):
        write = await asyncio.to_thread(writer, replace(place, token=":".join(USER)))
        await asyncio.to_thread(write, Annotation("by a user", (TAG,), 100.0))
        assert grafana.texts() == ["by a user"]


@pytest.mark.parametrize("status", [503, 401, 302])
async def test_while_grafana_is_away_runs_go_on_and_are_told_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    async with stand_in() as (grafana, place), served(tmp_path, grafana=place) as api:
        grafana.status = status
        with caplog.at_level(logging.WARNING):
            run = await api.run("fddi")
            await eventually(lambda: grafana.refused >= 2, "another try")
            assert (run["state"], grafana.taken) == ("done", [])
            grafana.status = None
            last = f"run {run['id']} is done: reproduced"
            await eventually(lambda: last in grafana.texts(), "all to be told")
        assert f"run {run['id']} begins" in grafana.texts()
        said = [record.getMessage() for record in caplog.records if "Grafana at" in record.getMessage()]
        assert [words in line for words, line in zip(("does not take", "again; 0"), said, strict=True)] == [
            True,
            True,
        ]
        assert TOKEN not in caplog.text


async def test_what_grafana_refuses_holds_nothing_up(caplog: pytest.LogCaptureFixture) -> None:
    async with stand_in() as (grafana, place):
        write = writer(place)
        one = Annotation("one", (TAG,), 1.5)
        grafana.status = 400
        with pytest.raises(Refused):
            await asyncio.to_thread(write, one)
        annotator = Annotator(place.url, partial(writer, place))
        bus = EventBus()
        bus.listen(annotator.hear)
        bus.publish("host", {"lab": "l", "host": "a", "state": "stopped"})
        await eventually(lambda: grafana.refused == 2, "it to be refused")
        grafana.status = None
        bus.publish("host", {"lab": "l", "host": "b", "state": "stopped"})
        await eventually(lambda: grafana.texts() == ["host b is stopped"], "the next to be told")
        await asyncio.to_thread(annotator.close)


def test_no_more_than_so_many_wait() -> None:
    written: list[str] = []
    away = True

    def write(one: Annotation) -> None:
        if away:
            raise ConnectionRefusedError("nobody there")
        written.append(one.text)

    annotator = Annotator("http://none", lambda: write)
    for number in range(2 * WAITING):
        annotator.hear(Event(number, "host", {"lab": "l", "host": str(number), "state": "stopped"}))
    away = False
    wait_until(lambda: f"host {2 * WAITING - 1} is stopped" in written, "the last to be told")
    assert WAITING <= len(written) <= WAITING + 1
    assert f"host {WAITING + 5} is stopped" in written
    annotator.close()


def test_a_listener_that_fails_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    bus = EventBus()
    heard: list[Event] = []

    def fail(event: Event) -> None:
        raise RuntimeError("nonsense")

    bus.listen(fail)
    bus.listen(heard.append)
    bus.publish("lab", {})
    assert (bus.last, len(heard), "nonsense" in caplog.text) == (1, 1, True)


@pytest.mark.parametrize(
    "url", ["grafana", "ftp://g", "http://", "http://u:p@g", "http://g?x=1", "http://[::1"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(AccessError, match="--grafana"):
        grafana_at(url, None)


def test_the_token_is_read_from_a_private_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o644)
    with pytest.raises(AccessError, match=r"--grafana-token-file .*chmod 600"):
        grafana_at("http://g:3000/", file)
    file.chmod(0o600)
    found = grafana_at("http://g:3000/", file)
    assert (found.url, found.token, TOKEN in repr(found)) == ("http://g:3000", TOKEN, False)


async def test_the_server_tells_the_grafana_that_it_is_given(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.touch(0o600)
    file.write_text(TOKEN)
    async with stand_in() as (grafana, place):
        options = ("--grafana", place.url, "--grafana-token-file", str(file))
        command = (*FAKE_SERVER, "--listen", "127.0.0.1:0", "--state", str(tmp_path / "state"), *options)
        with started(*command) as server:
            address = await asyncio.to_thread(address_of, server)
            async with aiohttp.ClientSession() as client:
                lab = {"name": "rings", "topology": "two-fddi"}
                async with client.post(f"{address}/api/v1/labs", json=lab) as answer:
                    assert answer.status == 202
            await eventually(lambda: "lab rings is ready" in grafana.texts(), "the lab to be told")
            server.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(until_ended, server) == 0
        # Also what happens at the very end is told.
        assert "lab rings is destroyed" in grafana.texts()


def test_up_takes_it_from_options_or_the_environment(tmp_path: Path) -> None:
    def refused(answer: "subprocess.CompletedProcess[str]") -> bool:
        return answer.returncode == 2 and "--grafana 'here'" in answer.stderr

    assert refused(cli(tmp_path, "up", "--listen", "127.0.0.1:0", "--grafana", "here"))
    assert refused(cli(tmp_path, "up", "--listen", "127.0.0.1:0", environment={"GRAFANA_URL": "here"}))
