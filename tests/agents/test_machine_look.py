"""An agent that is slow holds up nobody who looks at its host, and what it says late is not lost."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from agents import machine_hosts
from agents.errors import AgentError
from agents.machine_hosts import HostLink
from agents.requests import HostSetup
from tests.support import PATIENCE_S, eventually


class SlowLink(HostLink):
    """A link whose agent runs, and answers the n-th question with n once it is let."""

    def __init__(self) -> None:
        super().__init__(
            HostSetup(
                lab="lab",
                host="middle",
                namespace=Path("/nonexistent"),
                cgroup="transship/lab/middle",
                run_dir=Path("/nonexistent"),
                interfaces=[],
                workload_command=["/nonexistent"],
            )
        )
        self.state = "running"
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.dead = False

    async def ask(
        self, method: str, path: str, body: Any = None, *, changes: bool = False, timeout_s: float = 30.0
    ) -> bytes:
        assert (method, path, changes) == ("GET", "/look", False)
        self.asked += 1
        number = self.asked
        await self.may_answer.wait()
        if self.dead:
            raise AgentError(503, "it has died")
        return json.dumps(number).encode()


async def test_an_agent_that_answers_is_heard_by_all_who_look_at_once() -> None:
    link = SlowLink()
    link.may_answer.set()
    assert list(await asyncio.gather(link.look(), link.look())) == [1, 1]
    assert await link.look() == 2


async def test_a_slow_agent_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_hosts, "LOOK_S", 0.05)
    link = SlowLink()
    assert await link.look() is None
    monkeypatch.setattr(machine_hosts, "LOOK_S", 1e6)  # who waits once more waits for ever
    for _ in range(3):
        assert await asyncio.wait_for(link.look(), PATIENCE_S) is None
    assert link.asked == 1
    link.may_answer.set()
    await eventually(lambda: link._late[1] == 1, "the late answer to come")
    link.may_answer.clear()
    monkeypatch.setattr(machine_hosts, "LOOK_S", 0.05)
    assert await link.look() == 1  # what it said late, while it does not say something newer in time
    link.may_answer.set()
    await eventually(lambda: link._late[1] == 2, "the next late answer to come")
    monkeypatch.setattr(machine_hosts, "LOOK_S", PATIENCE_S)
    assert await link.look() == 3  # which it does now


async def test_what_was_said_long_ago_is_not_how_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_hosts, "LOOK_S", 0.05)
    monkeypatch.setattr(machine_hosts, "LATE_S", 0.0)
    link = SlowLink()
    assert await link.look() is None
    link.may_answer.set()
    await eventually(lambda: link._late[1] == 1, "the late answer to come")
    link.may_answer.clear()
    assert await link.look() is None


async def test_an_agent_that_dies_meanwhile_says_nothing() -> None:
    link = SlowLink()
    link.dead = True
    link.may_answer.set()
    assert await link.look() is None


async def test_a_host_without_an_agent_is_not_asked() -> None:
    link = SlowLink()
    for state in ("none", "starting", "failed", "stopped"):
        link.state = state
        assert await link.look() is None
    assert link.asked == 0


async def test_a_host_without_control_groups_has_no_cpu_time() -> None:
    assert SlowLink().cpu_usec() == {}
