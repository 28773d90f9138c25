"""Runs go on by themselves after the death of a server, and those of a private orchestrator do not."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agents.errors import Problem
from orchestrator.api.models import RunView
from orchestrator.client import Client
from orchestrator.recovery import MOST, going_on
from orchestrator.store import INTERRUPTED, Run, Store, interrupted, now
from tests.orchestrator.fake_engine import FakeEngine
from tests.orchestrator.processes import FAKE_SERVER, address_of, started, until_ended
from tests.support import wait_until

OWN = "20260202-000000-abcdef"
WAITED = "queued again: the orchestrator died while this waited"


def left(state: str, **fields: Any) -> Run:
    return Run(OWN, "fddi", state=state, **{"queued": now(), **fields})


def test_a_run_that_waited_or_was_under_way_is_queued_again_and_says_why() -> None:
    decide = going_on(FakeEngine())
    waited = decide(left("queued"))
    assert (waited.state, waited.message, waited.interruptions) == ("queued", WAITED, 0)
    began = left("running", lab="fddi-abcdef")
    first = decide(began)
    assert (first.state, first.interruptions, first.queued) == ("queued", 1, began.queued)
    assert first.message.endswith("while this was under way, 1 of at most 3 times")


def test_one_that_the_orchestrator_keeps_dying_in_is_left_alone() -> None:
    decide = going_on(FakeEngine())
    seen = []
    run = left("running")
    for _ in range(MOST):
        run = decide(run)
        seen.append(run.state)
        run = replace(run, state="running")
    assert seen == ["queued", "queued", "interrupted"]


class Refusing(FakeEngine):
    """Knows no experiment any more, or has a fault."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def topology(self, experiment: str, options: Mapping[str, Any]) -> dict[str, Any]:
        raise self.error


@pytest.mark.parametrize(
    ("run", "engine", "says"),
    [
        (left("running", queued=None), FakeEngine(), INTERRUPTED),
        (left("running", lab="mine"), FakeEngine(), "and the lab 'mine' with it; deploy that"),
        (left("queued"), Refusing(Problem(422, "there is no experiment 'fddi'")), "no experiment 'fddi'"),
        (left("queued"), Refusing(ZeroDivisionError("odd")), "ZeroDivisionError: odd"),
    ],
)
def test_what_cannot_go_on_by_itself_is_interrupted_with_the_reason(
    run: Run, engine: FakeEngine, says: str
) -> None:
    decided = going_on(engine)(run)
    assert (decided.state, decided.finished is not None) == ("interrupted", True)
    assert decided.message.startswith(INTERRUPTED) and says in decided.message


async def test_the_queue_keeps_its_order_also_of_runs_that_were_resumed(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    ids = [f"20260202-00000{n}-abcdef" for n in range(3)]
    runs = [
        await store.add(Run(one, "fddi", queued=f"2026-01-01T00:00:0{5 - n}Z")) for n, one in enumerate(ids)
    ]
    await store.update(replace(runs[2], state="running"))
    await store.close()
    store = await Store.open(tmp_path, going_on(FakeEngine()))
    assert [run.id for run in await store.waiting()] == ids[::-1]
    await store.close()
    store = await Store.open(tmp_path, interrupted)
    assert (await store.waiting(), {run.state for run in await store.list()}) == ([], {"interrupted"})
    await store.close()


@contextmanager
def server(state: Path, *more: str) -> Iterator[tuple[Client, Callable[[], None]]]:
    """A client of a server, and what kills that."""
    with started(*FAKE_SERVER, "--listen", "127.0.0.1:0", "--state", str(state), *more) as process:

        def kill() -> None:
            os.kill(process.pid, signal.SIGKILL)
            until_ended(process)

        yield Client(address_of(process)), kill


def until(client: Client, run: str, *states: str) -> RunView:
    wait_until(lambda: client.run(run).state in states, f"{run} to be {' or '.join(states)}")
    return client.run(run)


def until_measuring(client: Client, run: str) -> RunView:
    """By then the index has that it is under way, too."""
    wait_until(lambda: client.run(run).progress, f"{run} to begin")
    return client.run(run)


def test_a_killed_servers_runs_go_on_in_their_order_with_the_next(tmp_path: Path) -> None:
    with server(tmp_path) as (client, kill):
        assert client.create_lab("mine", "two-fddi").name == "mine"
        wait_until(lambda: client.lab("mine").state == "ready", "the lab")
        endless, *short = (client.create_run(name).id for name in ("endless", "fddi", "fddi"))
        bound = client.create_run("fddi", lab="mine").id
        until_measuring(client, endless)
        kill()
    with server(tmp_path) as (client, kill):
        assert until_measuring(client, endless).message.endswith("under way, 1 of at most 3 times")
        assert client.labs() == [client.lab(f"endless-{endless[-6:]}")]
        told = next(client.events(short[1])).data
        assert (told["state"], told["message"]) == ("queued", WAITED)
        assert "the lab 'mine' with it" in until(client, bound, "interrupted").message
        client.cancel_run(endless)
        ended = [until(client, one, "done") for one in short]
        assert ended[0].finished is not None and ended[1].started is not None
        assert ended[0].finished <= ended[1].started and ended[0].message == ""
        client.resume_run(endless)
        until(client, endless, "done")  # it ends when it is told to go on
        kill()
    with server(tmp_path) as (client, _):
        assert {client.run(one).state for one in (endless, *short)} == {"done"}


def test_killed_three_times_in_one_run_it_leaves_that_alone_until_told(tmp_path: Path) -> None:
    run = ""
    for _ in range(MOST):
        with server(tmp_path) as (client, kill):
            run = run or client.create_run("endless").id
            until_measuring(client, run)
            kill()
    with server(tmp_path) as (client, kill):
        assert "3 times while this was under way" in until(client, run, "interrupted").message
        client.resume_run(run)
        until_measuring(client, run)
        kill()
    with server(tmp_path) as (client, _):
        assert until_measuring(client, run).message.endswith("1 of at most 3 times")


def test_what_a_private_orchestrator_began_nobody_waits_for(tmp_path: Path) -> None:
    with server(tmp_path, "--until-stdin-closes") as (client, kill):
        runs = [client.create_run(name).id for name in ("endless", "fddi")]
        until(client, runs[0], "running")
        kill()
    with server(tmp_path) as (client, _):
        assert [(client.run(one).state, client.run(one).message) for one in runs] == [
            ("interrupted", INTERRUPTED)
        ] * 2
