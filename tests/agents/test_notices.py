"""News are told once, in order, to those who wait and to those who ask later."""

from __future__ import annotations

import asyncio

from agents.notices import KEPT, Notices


async def test_who_waits_hears_at_once_and_who_comes_later_hears_all() -> None:
    notices = Notices()
    waiting = asyncio.create_task(notices.after(0, 30))
    await asyncio.sleep(0)
    notices.add(host="a")
    notices.add(host="b")
    assert (await waiting)[0] == {"number": 1, "host": "a"}
    assert [one["host"] for one in await notices.after(1, 30)] == ["b"]
    assert await notices.after(2, 0.001) == []


async def test_so_many_are_kept() -> None:
    notices = Notices()
    for number in range(KEPT + 5):
        notices.add(host=str(number))
    assert [one["number"] for one in await notices.after(0, 0)] == list(range(6, KEPT + 6))
