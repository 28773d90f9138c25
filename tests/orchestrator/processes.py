"""The command line and the server as processes, for tests."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
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


class Terminal:
    """A command on a terminal of its own; a context, at the end of which it is killed if it still runs.

    `shown` is all that it has written there.
    """

    def __init__(self, *command: str, environment: Mapping[str, str] = {}, columns: int = 80) -> None:
        self.shown = b""
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
            os.execve(command[0], command, {**ENVIRONMENT, "TERM": "xterm", **environment})
        self._status: int | None = None

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._terminal)

    def type(self, keys: bytes) -> None:
        """Types these."""
        os.write(self._terminal, keys)

    def until(self, words: bytes) -> None:
        """Waits until these have been shown."""
        deadline = time.monotonic() + PATIENCE_S
        while words not in self.shown:
            assert self._read(deadline), self.shown

    def ended(self) -> int:
        """The exit status, once everything has been shown."""
        deadline = time.monotonic() + PATIENCE_S
        while self._read(deadline):
            pass
        _, self._status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(self._status)

    def modes(self) -> list[object]:
        """What the terminal is set to."""
        return termios.tcgetattr(self._terminal)

    def _read(self, deadline: float) -> bool:
        """Takes what is there, or comes; False at the end."""
        assert select.select([self._terminal], [], [], max(deadline - time.monotonic(), 0))[0], self.shown
        try:
            self.shown += os.read(self._terminal, 4096)
        except OSError:  # nobody has it open any more
            return False
        return True


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
