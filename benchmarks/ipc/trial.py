"""One trial of `bench ipc`: the program for the systems in C, the pair of processes for those in Python."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from agents.processes import REPOSITORY, tail_of
from agents.shipping.build import HERE as LIBRARY
from agents.shipping.build import sources
from benchmarks._compiled import compiled
from benchmarks.ipc.place import swept_place
from benchmarks.ipc.work import Work

HERE = Path(__file__).resolve().parent
OURS, OURS_PYTHON = "shipping", "shipping-python"
COPYING = ("pipe", "unix-stream", "unix-seqpacket", "vmsplice", "process-vm-readv", "ring-memcpy")
ICEORYX2 = ("iceoryx2", "iceoryx2-events")
IN_C, IN_PYTHON = (OURS, *COPYING), (OURS_PYTHON, *ICEORYX2)
WITHOUT_LOOKING = (OURS, "vmsplice", *IN_PYTHON)
"""Who can hand bytes over that neither side touches."""
LIMIT_S = 60.0
"""More than any trial takes: one that hangs fails."""


class TrialError(RuntimeError):
    """A trial gave no result; the message says why."""


def program(cache: Path) -> Path:
    """The C program, with the library in it. Raises CompileError."""
    includes = (LIBRARY / "include", LIBRARY / "core", LIBRARY)
    flags = ("-Wno-unused-parameter", "-pthread")
    return compiled("ipc", [*sorted(HERE.glob("*.c")), *sources()], cache, includes, flags)


def missing_iceoryx2() -> str | None:
    """Why iceoryx2 cannot be measured, or None."""
    return None if find_spec("iceoryx2") else "iceoryx2 is not installed here (its wheels are for x86_64)"


def run_trial(ipc: Path, work: Work) -> dict[str, Any]:
    """What it measured: `messages`, `seconds`, and what kind of `pages` vmsplice had.

    Raises TrialError.
    """
    with swept_place() as (place, held):
        numbers = [str(work.size), str(work.seconds), work.touched, work.measure, *map(str, work.cpus), place]
        if work.system in IN_C:
            return _result(
                [str(ipc), work.system, *numbers], held, [str(number) for number in work.pool or ()]
            )
        command = [sys.executable, "-m", "benchmarks.ipc.pair", work.system, *numbers]
        if work.system != OURS_PYTHON:
            return _result(command, held)
        with _manager(ipc, work, place, held):
            return _result(command, held)


def _start(command: list[str], held: int, more: Sequence[str] = ()) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C ends the benchmark, which ends its trial, and not the other way round.
    return subprocess.Popen(
        [*command, str(os.getpid()), *more],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        pass_fds=(held,),
    )


def _result(command: list[str], held: int, more: Sequence[str] = ()) -> dict[str, Any]:
    with _start(command, held, more) as process:
        try:
            said, complaint = process.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            raise TrialError(f"not done after {LIMIT_S:g} s") from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode != 0:
        raise TrialError(f"exit status {process.returncode}{tail_of(complaint[-2000:])}")
    result: dict[str, Any] = json.loads(said)
    return result


@contextmanager
def _manager(ipc: Path, work: Work, place: str, held: int) -> Iterator[None]:
    """Our host's manager; it may use the two CPUs of the trial, and no other."""
    with _start([str(ipc), "manager", str(work.size), *map(str, work.cpus), place], held) as process:
        try:
            if process.stdout is None or process.stdout.readline() != b"ready\n":
                raise TrialError(f"the manager did not start{tail_of(process.communicate()[1])}")
            yield
        finally:
            process.terminate()
