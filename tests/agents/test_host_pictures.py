"""The process that makes a host's pictures: asked in turn, replaced when it fails, gone when nobody looks."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from agents import host_pictures
from agents.errors import Problem
from agents.host_pictures import Pictures
from agents.host_registry import Workloads
from agents.host_workloads import Workload
from agents.requests import HostSetup, WorkloadSpec
from tests.agents.test_host_workloads import setup, workloads
from tests.support import alive, children, eventually

__all__ = ["setup", "workloads"]  # the fixtures

SHOWS = """
import json, os, sys
for number, line in enumerate(sys.stdin):
    asked = json.loads(line)
    if asked["width"] == 13:
        os._exit(3)
    if asked["width"] == 14:
        answer, image = {"missing": "it is dark"}, ""
    elif asked["width"] == 15:
        answer, image = {"broken": "out of order"}, ""
    else:
        image = f"{line.strip()} " * 20000
        answer = {"frame": number, "bytes": len(image)}
    print(json.dumps(answer), end="\\n" + image, flush=True)
"""
Maker = Callable[[str], None]


@pytest.fixture
def maker(monkeypatch: pytest.MonkeyPatch) -> Maker:
    """Lets a program be what makes pictures."""

    def program(text: str) -> None:
        monkeypatch.setattr(host_pictures, "COMMAND", (sys.executable, "-S", "-c", text))

    program(SHOWS)
    return program


@pytest.fixture
async def pictures(maker: Maker) -> AsyncIterator[Pictures]:
    made = Pictures()
    yield made
    await made.kill()


async def display(workloads: Workloads, kind: str = "display", **params: Any) -> Workload:
    return await workloads.start(WorkloadSpec(workload=kind, params=params))


async def test_everybody_gets_the_picture_that_was_asked_for(
    workloads: Workloads, pictures: Pictures
) -> None:
    ones = [await display(workloads) for _ in range(3)]
    found = await asyncio.gather(*(pictures.of(one, 100 + at) for at, one in enumerate(ones)))
    assert sorted(picture.frame for picture in found) == [0, 1, 2]  # by one process
    for at, (one, picture) in enumerate(zip(ones, found, strict=True)):
        assert f'{{"width": {100 + at}, "pid": {one.pid}}} '.encode() * 20000 == picture.png


async def test_what_cannot_be_shown_is_said(workloads: Workloads, pictures: Pictures) -> None:
    one, other = await display(workloads), await display(workloads, "sink")
    ended = await display(workloads)
    await workloads.stop(ended.id)
    for asked, width, status, says in (
        (one, 14, 409, f"{one.id} shows nothing: it is dark"),
        (one, 15, 502, f"no picture of {one.id} could be made: out of order"),
        (one, 13, 502, "the picture could not be made: its process ended with exit status 3"),
        (other, None, 409, f"{other.id} is a sink; pictures are of a display"),
        (ended, None, 409, f"{ended.id} has ended, and shows nothing any more"),
    ):
        with pytest.raises(Problem) as caught:
            await pictures.of(asked, width)
        assert (caught.value.status, caught.value.detail) == (status, says)
    assert (await pictures.of(one, 640)).frame == 0  # by a new process


async def test_one_that_does_not_answer_is_ended_and_so_is_one_whose_client_goes(
    workloads: Workloads, pictures: Pictures, maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await display(workloads)
    maker("import sys; sys.stdin.readline(); sys.stdin.read()")
    there = set(children_of_us())
    asking = asyncio.create_task(pictures.of(one, None))
    await eventually(lambda: set(children_of_us()) - there, "it to be asked")
    (pid,) = set(children_of_us()) - there
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert not alive(pid)
    monkeypatch.setattr(host_pictures, "LIMIT_S", 0.01)
    with pytest.raises(Problem, match=r"it took more than 0\.01 s"):
        await pictures.of(one, None)
    assert set(children_of_us()) == there


async def test_the_process_ends_when_nobody_has_looked_for_a_while(
    workloads: Workloads, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await display(workloads)
    there = set(children_of_us())
    monkeypatch.setattr(host_pictures, "IDLE_S", 0.0)
    assert (await pictures.of(one, None)).frame == 0
    await eventually(lambda: set(children_of_us()) == there, "it to end")
    assert (await pictures.of(one, None)).frame == 0


async def test_a_display_on_our_stack_is_looked_at_through_its_manager(
    setup: HostSetup, workloads: Workloads, pictures: Pictures
) -> None:
    spec = WorkloadSpec(workload="display", system="shipping", params={"framebuffer": "left"})
    picture = await pictures.of(await workloads.start(spec), None)
    where = setup.run_dir / "middle.manager.sock"
    assert picture.png.startswith(f'{{"width": null, "manager": "{where}", "name": "left"}} '.encode())


def children_of_us() -> list[int]:
    return children(os.getpid())
