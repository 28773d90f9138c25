"""Children are reaped, their output is complete and bounded, and nothing of them stays open."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from agents.processes import STDERR_KEPT, Child, Lines, ending
from tests.support import PATIENCE_S, alive, children, eventually


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_output_written_just_before_the_end_is_not_lost() -> None:
    lines: list[bytes] = []
    seen_at_exit: list[int] = []
    child = Child(
        [sys.executable, "-c", "import sys; [print(i) for i in range(5000)]; sys.exit(3)"],
        on_output=Lines(lines.append),
        on_exit=lambda code: seen_at_exit.append(len(lines)),
    )
    assert await child.wait() == 3
    assert lines == [str(i).encode() for i in range(5000)]
    assert seen_at_exit == [5000]


async def test_the_end_of_standard_error_is_kept() -> None:
    child = Child([sys.executable, "-c", "import sys; sys.stderr.write('x' * 20000 + 'the end')"])
    await child.wait()
    assert len(child.stderr) == STDERR_KEPT
    assert child.stderr.endswith(b"the end")


async def test_a_grandchild_that_holds_the_pipes_does_not_delay_the_news_of_the_end() -> None:
    child = Child(["/bin/sh", "-c", "sleep 1000 & echo $!"], on_output=lambda data: pids.append(int(data)))
    pids: list[int] = []
    assert await asyncio.wait_for(child.wait(), PATIENCE_S) == 0
    os.kill(pids[0], signal.SIGKILL)


async def test_a_program_that_cannot_be_started_leaves_no_descriptor() -> None:
    before = open_descriptors()
    for program in ("/nonexistent", "/etc/hostname"):
        try:
            Child([program])
        except OSError:
            continue
        raise AssertionError(f"{program} was started")
    assert open_descriptors() == before


async def test_a_hundred_children_leave_no_descriptor_and_no_zombie() -> None:
    await Child(["/bin/true"]).wait()
    before = open_descriptors()
    spawned = []
    for _ in range(10):
        batch = [Child(["/bin/true"]) for _ in range(10)]
        await asyncio.gather(*(child.wait() for child in batch))
        spawned += batch
    assert open_descriptors() == before
    assert not {child.pid for child in spawned} & set(children(os.getpid()))


async def test_a_child_that_ended_can_be_signalled_and_killed_without_harm() -> None:
    child = Child(["/bin/true"])
    await child.wait()
    child.signal(signal.SIGKILL)
    assert await child.kill() == 0


async def test_a_child_dies_with_its_parent() -> None:
    script = (
        "import asyncio, os\n"
        "from agents.processes import Child\n"
        "async def main():\n"
        "    print(Child(['/bin/sleep', '60'], dies_with_us=True).pid, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    pids: list[int] = []
    parent = Child([sys.executable, "-c", script], on_output=lambda data: pids.append(int(data)))
    await eventually(lambda: pids, "the child's id")
    await parent.kill()
    await eventually(lambda: not alive(pids[0]), "the child to be gone")


def test_lines_are_cut_out_of_any_pieces() -> None:
    lines: list[bytes] = []
    take = Lines(lines.append)
    for piece in (b"on", b"e\ntw", b"o\n\nthree", b"\n"):
        take(piece)
    assert lines == [b"one", b"two", b"", b"three"]


def test_a_line_over_the_limit_is_handed_on_once_and_cut() -> None:
    lines: list[bytes] = []
    take = Lines(lines.append, limit=10)
    for piece in (b"x" * 25, b"y" * 25, b"y\nshort\n"):
        take(piece)
    assert lines == [b"x" * 10, b"short"]


def test_endings_in_words() -> None:
    assert ending(-9) == "killed by signal 9 (SIGKILL)"
    assert ending(3) == "ended with exit status 3"
