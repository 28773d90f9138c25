"""An orchestrator for one verb only: a child on a Unix socket, which cleans up and ends with the verb."""

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from orchestrator.cli.client import Server
from orchestrator.cli.failures import Failure
from orchestrator.cli.interrupt import interrupts
from orchestrator.state import run_root

START_S = 90.0
STOP_S = 60.0
REPOSITORY = Path(__file__).resolve().parent.parent.parent
COMMAND: tuple[str, ...] = (sys.executable, "-m", "orchestrator.server")
READY = "transship: listening at "


class PrivateServer:
    """The child: its socket, what it says on stderr, and how it ended."""

    def __init__(self, process: "subprocess.Popen[str]", socket: Path) -> None:
        self.process = process
        self.socket = socket
        self.server = Server(f"unix:{socket}")
        self._said: deque[str] = deque(maxlen=20)
        # It is inherited by the machine agent: it ends when that has ended too, however the server ended.
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def wait_ready(self) -> None:
        """Wait until it answers. Raises Failure with what it said."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if not select.select([self.process.stdout], [], [], 1.0)[0]:
                continue
            line = self.process.stdout.readline()
            if line.startswith(READY):
                self.server = Server(line.removeprefix(READY).strip())
                return
            self.process.wait()
            self._listener.join(STOP_S)
            raise Failure(self._last_words() or f"the orchestrator could not be started ({self._ending()})")
        raise Failure(f"the orchestrator did not start within {START_S:.0f} s")

    def death(self) -> str | None:
        """What to tell if it died; None while it lives. Waits until its machine agent has cleaned up."""
        try:
            self.process.wait(1.0)
        except subprocess.TimeoutExpired:
            return None
        self._listener.join(STOP_S)
        return f"the orchestrator died (pid {self.process.pid}, {self._ending()})"

    def stop(self) -> None:
        """Let it cancel, destroy and exit; returns when it and its machine agent have."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            print(
                f"transship: the orchestrator (pid {self.process.pid}) hangs and is killed", file=sys.stderr
            )
            self.process.kill()
            self.process.wait()
        self._listener.join(STOP_S)
        self.process.stdout.close()
        with suppress(OSError):  # it is there only if the server was killed
            self.socket.unlink()

    def _listen(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            for line in stream:
                self._said.append(line.rstrip())

    def _last_words(self) -> str:
        return "\n".join(line.removeprefix("transship: ") for line in self._said)

    def _ending(self) -> str:
        code = self.process.returncode
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"


@contextmanager
def private_server(state: Path, listen: str | None = None) -> Iterator[PrivateServer]:
    """A private orchestrator, ready; stopped at the end whatever happens. Raises Failure.

    It listens at a Unix socket; at `listen`, an address and port, for what cannot use one.
    """
    socket = run_root() / f"orchestrator-{os.getpid()}.sock"
    where = ["--unix", str(socket)] if listen is None else ["--listen", listen]
    arguments = [*COMMAND, *where, "--until-stdin-closes", "--state", str(state)]
    child = None
    try:
        with interrupts.deferred():
            process = subprocess.Popen(
                arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=REPOSITORY,
                # Its own session: Ctrl-C in the terminal is for the verb, which then asks the server to stop.
                start_new_session=True,
            )
            child = PrivateServer(process, socket)
        child.wait_ready()
        yield child
    finally:
        with interrupts.shielded():
            if child is not None:
                child.stop()
