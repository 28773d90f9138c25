"""The command line and the server as processes, for tests."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support import PATIENCE_S, wait_until

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
FAKE_SERVER = (sys.executable, str(HERE / "fake_server.py"))
FAKE_CLI = (sys.executable, str(HERE / "fake_cli.py"))
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY), "NO_COLOR": "1"}


def cli(
    directory: Path, *arguments: str, environment: Mapping[str, str] = {}
) -> subprocess.CompletedProcess[str]:
    """A verb run to its end, its state in `directory`."""
    return subprocess.run(
        [*FAKE_CLI, str(directory), *arguments],
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_S,
        env={**ENVIRONMENT, "TRANSSHIP_STATE": str(directory / "state"), **environment},
    )


@contextmanager
def started(*command: str, environment: Mapping[str, str] = {}) -> Iterator["subprocess.Popen[str]"]:
    """A process with pipes, in a session of its own; killed at the end if it still runs."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**ENVIRONMENT, **environment},
    )
    with process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)


def address_of(server: "subprocess.Popen[str]") -> str:
    """Where a server says that it listens."""
    assert server.stdout is not None
    line = server.stdout.readline()
    found = re.fullmatch(r"transship: listening at (\S+)\n", line)
    assert found, f"not ready: {line!r} {server.stderr.read() if server.stderr and not line else ''}"
    return found[1]


def until_said(process: "subprocess.Popen[str]", words: str) -> None:
    """Reads what a process says on stderr up to the line that has these words."""
    assert process.stderr is not None
    before = ""
    for line in process.stderr:
        if words in line:
            return
        before += line
    raise AssertionError(f"it ended without saying {words!r}: {before}")


def until_ended(process: "subprocess.Popen[str]", seconds: float = PATIENCE_S) -> int:
    """The exit status of a process that ends by itself."""
    wait_until(lambda: process.poll() is not None, f"process {process.pid} to end", seconds)
    assert process.returncode is not None
    return process.returncode
