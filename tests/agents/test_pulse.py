"""A process that hangs is told from one that waits for the CPU, by what /proc says of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.pulse import BUSY_NS, LOOKS, Pulse

PID = 7


class Process:
    """What /proc would say of a process, and the questions that it was asked."""

    def __init__(self, proc: Path) -> None:
        self._directory = proc / str(PID)
        self._directory.mkdir()
        self.asked = 0
        self.pulse = Pulse(PID, self._ask, proc)
        self.be("S")

    def be(self, state: str, cpu_ns: int = 0) -> None:
        (self._directory / "stat").write_text(f"{PID} (a) b) {state} 1 2 3\n")
        (self._directory / "schedstat").write_text(f"{cpu_ns} 0 1\n")

    def _ask(self) -> None:
        self.asked += 1


@pytest.fixture
def process(tmp_path: Path) -> Process:
    return Process(tmp_path)


def beats(process: Process, count: int) -> list[str | None]:
    return [process.pulse.beat() for _ in range(count)]


def test_one_that_answers_is_asked_each_time(process: Process) -> None:
    for _ in range(10):
        assert process.pulse.beat() is None
        process.pulse.answered()
    assert process.asked == 10


@pytest.mark.parametrize(("state", "words"), [("T", "it is stopped"), ("S", "waits for something else")])
def test_one_that_does_nothing_hangs(process: Process, state: str, words: str) -> None:
    process.be(state)
    *before, last = beats(process, 1 + LOOKS)
    assert before == [None] * LOOKS
    assert last is not None and words in last and "did not answer for 20 s" in last
    assert process.asked == 1


def test_one_that_gets_no_cpu_does_not_hang_however_long_that_is(process: Process) -> None:
    for look in range(1000):
        process.be("R", cpu_ns=look * (BUSY_NS // 2000))
        assert process.pulse.beat() is None
    process.pulse.answered()
    assert beats(process, LOOKS) == [None] * LOOKS


def test_one_that_works_on_something_else_hangs(process: Process) -> None:
    assert process.pulse.beat() is None
    process.be("R", cpu_ns=BUSY_NS)
    found = beats(process, LOOKS)
    assert found[:-1] == [None] * (LOOKS - 1)
    assert found[-1] is not None and "it does something else" in found[-1]


@pytest.mark.parametrize("state", ["R", "D", "t"])
def test_a_look_that_finds_it_waiting_begins_anew(process: Process, state: str) -> None:
    assert beats(process, LOOKS) == [None] * LOOKS
    process.be(state)
    assert process.pulse.beat() is None
    process.be("S")
    assert beats(process, LOOKS - 1) == [None] * (LOOKS - 1)
    assert process.pulse.beat() is not None


def test_an_answer_begins_anew(process: Process) -> None:
    assert beats(process, LOOKS) == [None] * LOOKS
    process.pulse.answered()
    assert beats(process, LOOKS) == [None] * LOOKS


def test_one_that_has_ended_is_others_business(process: Process, tmp_path: Path) -> None:
    for file in (tmp_path / str(PID)).iterdir():
        file.unlink()
    assert beats(process, 3 * LOOKS) == [None] * (3 * LOOKS)
