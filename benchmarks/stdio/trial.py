"""One trial of `bench stdio`: a writer, an unchanged reader, and between them a pipe or a channel."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from agents.processes import ending
from agents.shipping.build import HERE as LIBRARY
from agents.shipping.stdio import CALLS
from agents.shipping.stdio import HERE as STDIO
from benchmarks._compiled import compiled

HERE = Path(__file__).resolve().parent
OURS, SYSTEMS = "shipping", ("shipping", "glibc", "glibc-unlocked")
CHANNEL = "text"
QUIET = ("-Wno-unused-parameter", "-pthread")
LIMIT_S = 300.0


class TrialError(RuntimeError):
    """A trial failed; the message says how."""


@dataclass(frozen=True)
class Programs:
    """The writer, which is the manager too, and the reader of each system."""

    feed: Path
    readers: dict[str, Path]


def build(cache: Path) -> Programs:
    """Compile those that `cache` has not. Raises CompileError."""
    source, includes, flags = HERE / "wc.c", [LIBRARY / room for room in (".", "include", "core")], QUIET
    unlocked = ("-include", str(HERE / "unlocked.h"))
    replaced = compiled("stdio-wc-object", [source], cache, [STDIO / "replace", STDIO], ["-c"])
    ours = [replaced, *sorted(STDIO.glob("*.c")), *CALLS]
    return Programs(
        compiled("stdio-feed", [HERE / "feed.c", *CALLS], cache, includes, flags),
        {
            OURS: compiled("stdio-wc-shipping", ours, cache, includes, flags),
            "glibc": compiled("stdio-wc-glibc", [source], cache),
            "glibc-unlocked": compiled("stdio-wc-glibc-unlocked", [source], cache, (), unlocked),
        },
    )


def run_trial(programs: Programs, system: str, total: int, cpus: Sequence[int]) -> tuple[float, float]:
    """Seconds from the writer's start to the reader's end, and of CPU that the reader took.

    Raises:
        TrialError: a program failed, or did not count all bytes.
    """
    if system != OURS:
        return _pair(programs, system, ["pipe", str(total)], {}, total, cpus)
    with tempfile.TemporaryDirectory(prefix="transship-stdio-") as folder:
        socket = str(Path(folder) / "manager")
        with _started([programs.feed, "manager", socket], cpus[0]) as manager:
            assert manager.stdout is not None
            if manager.stdout.readline() != b"ready\n":
                raise TrialError(f"the manager did not start: {_last_words(manager)}")
            environment = {"CS_MANAGER": socket, "CS_STDIN": f"channel:{CHANNEL}"}
            writes = ["channel", socket, CHANNEL, str(total)]
            return _pair(programs, system, writes, environment, total, cpus)


def _pair(
    programs: Programs,
    system: str,
    writes: list[str],
    environment: dict[str, str],
    total: int,
    cpus: Sequence[int],
) -> tuple[float, float]:
    began = time.monotonic()
    with (
        _started([programs.feed, *writes], cpus[0]) as feed,
        _started([programs.readers[system]], cpus[1], feed.stdout, environment) as reader,
    ):
        assert feed.stdout is not None and reader.stdout is not None
        feed.stdout.close()  # the reader's alone
        late = threading.Timer(LIMIT_S, reader.kill)
        late.start()
        try:
            counted = reader.stdout.read()
            seconds = time.monotonic() - began
            _, status, usage = os.wait4(reader.pid, 0)
        finally:
            late.cancel()
        reader.returncode = os.waitstatus_to_exitcode(status)
        if reader.returncode != 0:
            raise TrialError(f"the reader {ending(reader.returncode)}: {_last_words(reader)}")
        if feed.wait(LIMIT_S) != 0:
            raise TrialError(f"the writer {ending(feed.returncode)}: {_last_words(feed)}")
    if counted.split()[-1:] != [str(total).encode()]:
        raise TrialError(f"the reader counted {counted.decode().strip()!r} of {total} bytes")
    return seconds, usage.ru_utime + usage.ru_stime


@contextmanager
def _started(
    command: Sequence[str | Path],
    cpu: int,
    stdin: IO[bytes] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A program on that CPU, killed at the end if it has not ended by then."""
    child = subprocess.Popen(
        command,
        stdin=stdin or subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **(environment or {})},
        preexec_fn=lambda: os.sched_setaffinity(0, {cpu}),
    )
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        for stream in (child.stdout, child.stderr):
            if stream is not None:
                stream.close()


def _last_words(child: subprocess.Popen[bytes]) -> str:
    assert child.stderr is not None
    return child.stderr.read(4096).decode(errors="replace").strip()
