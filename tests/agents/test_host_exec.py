"""Commands on a host end, and so does what they started when they take too long."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agents.errors import Problem
from agents.host_exec import COMMANDS_AT_ONCE, Commands
from tests.support import alive, eventually


async def test_a_command_gets_no_shell_no_input_and_its_own_exit() -> None:
    answer = await Commands().run(["/bin/echo", "$HOME", "; ls"])
    assert answer == {"exit": 0, "stdout": "$HOME ; ls\n", "stderr": "", "truncated": False}
    assert (await Commands().run(["/bin/cat"]))["stdout"] == ""
    assert (await Commands().run(["/bin/sh", "-c", "kill -9 $$"]))["exit"] == -9


async def test_a_command_over_its_time_is_killed_with_all_it_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    note, sleeper = tmp_path / "pid", ""
    for seconds in (0.3, 3, 30):  # a longer limit if the machine had no time to start both in the shorter
        monkeypatch.setattr("agents.host_exec.LIMIT_S", seconds)
        with pytest.raises(Problem, match=f"ran for more than {seconds:g} s") as caught:
            await Commands().run(["/bin/sh", "-c", f"sleep 1000 & echo $! > {note}; wait"])
        assert caught.value.status == 504
        if note.exists() and (sleeper := note.read_text()):
            break
    await eventually(lambda: not alive(int(sleeper)), "the sleeper to be gone")


async def test_commands_at_once_are_limited_and_killed_at_the_end() -> None:
    commands = Commands()
    running = [asyncio.create_task(commands.run(["/bin/sleep", "60"])) for _ in range(COMMANDS_AT_ONCE)]
    await asyncio.sleep(0)
    with pytest.raises(Problem, match="run on this host already"):
        await commands.run(["/bin/true"])
    await commands.kill_all()
    assert [answer["exit"] for answer in await asyncio.gather(*running)] == [-9] * COMMANDS_AT_ONCE
