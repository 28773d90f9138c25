"""Child processes: started, watched and killed through their pidfd, and never left behind."""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import os
import signal
import struct
import subprocess
import termios
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

STDERR_KEPT = 4096
"""Bytes kept of what a child wrote last to its standard error."""
REPOSITORY = Path(__file__).resolve().parent.parent
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PASSED_ON = ("TMPDIR", "TZ")
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent_pid: int) -> None:
    """Has the kernel kill this process when its parent, which must be `parent_pid`, ends for any reason.

    The signal follows the parent's *thread* that started this process: start children from a thread
    that lives as long as the process. A parent that ended before this call is found by its changed id.
    """
    if _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot ask for a signal at the parent's death")
    if os.getppid() != parent_pid:
        os.kill(os.getpid(), signal.SIGKILL)


def clean_environment() -> dict[str, str]:
    """What children of agents, and agents, find in their environment: nothing that a person happened to have
    set."""
    passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return {"PATH": PATH, "HOME": "/", "LANG": "C.UTF-8", **passed_on}


def first_line(descriptor: int) -> bytes:
    """The first line of standard input, not one byte more: what follows is somebody else's to read."""
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = os.read(descriptor, 1)
        if not byte:
            raise ValueError("standard input ended before the setup")
        line += byte
    return bytes(line)


def ending(returncode: int) -> str:
    """How a process ended, in words: `killed by signal 9 (SIGKILL)`, `ended with exit status 1`."""
    if returncode >= 0:
        return f"ended with exit status {returncode}"
    try:
        name = f" ({signal.Signals(-returncode).name})"
    except ValueError:
        name = ""
    return f"killed by signal {-returncode}{name}"


def tail_of(text: bytes) -> str:
    """The end of a child's standard error as a suffix for a message; empty when it wrote nothing."""
    words = text.decode(errors="replace").strip()
    return f": {words}" if words else ""


class Child:
    """One child process with a pipe at each of its standard streams. Needs a running event loop.

    `on_output` and `on_error_output` get what the child writes, in order; `on_exit` its return code (minus
    the signal's number for a signal), after all its output. All run in the event loop and must not block.
    `stderr` is the end of its standard error. The process is reaped as soon as it ends, and its
    descriptors are closed then, also when a grandchild still holds the pipes. With `dies_with_us` the
    kernel kills it when this process ends; only for a single-threaded caller, because code runs between
    fork and exec.
    Raises `OSError` when the program cannot be started.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        on_output: Callable[[bytes], None] | None = None,
        on_error_output: Callable[[bytes], None] | None = None,
        on_exit: Callable[[int], None] | None = None,
        pass_fds: Sequence[int] = (),
        cwd: Path = REPOSITORY,
        env: Mapping[str, str] | None = None,
        dies_with_us: bool = False,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_output = on_output
        self._on_error_output = on_error_output
        self._on_exit = on_exit
        self.returncode: int | None = None
        self.stderr = b""
        self._ended: asyncio.Future[int] = self._loop.create_future()
        us = os.getpid()
        pipes = [os.pipe2(os.O_CLOEXEC) for _ in range(3)]
        (stdin, self._stdin), (self._stdout, stdout), (self._stderr, stderr) = pipes
        try:
            self._process = subprocess.Popen(
                list(argv),
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                pass_fds=tuple(pass_fds),
                cwd=cwd,
                env=clean_environment() if env is None else env,
                # a terminal's Ctrl-C is for the process that talks to the person, which ends the others
                start_new_session=True,
                preexec_fn=(lambda: die_with_parent(us)) if dies_with_us else None,
            )
        except subprocess.SubprocessError as error:
            self._close(self._stdin, self._stdout, self._stderr)
            raise OSError(f"cannot prepare {argv[0]}: {error}") from error
        except BaseException:
            self._close(self._stdin, self._stdout, self._stderr)
            raise
        finally:
            self._close(stdin, stdout, stderr)
        self.pid = self._process.pid
        self._pidfd = os.pidfd_open(self.pid)
        for ours in (self._stdin, self._stdout, self._stderr):
            os.set_blocking(ours, False)
        self._loop.add_reader(self._stdout, self._read_stdout)
        self._loop.add_reader(self._stderr, self._read_stderr)
        self._loop.add_reader(self._pidfd, self._reap)

    def write(self, data: bytes) -> None:
        """Puts `data` into the child's standard input at once. Raises `OSError`, also when it is full."""
        if self._stdin < 0:
            raise BrokenPipeError("its standard input is closed")
        if os.write(self._stdin, data) != len(data):
            raise BlockingIOError("it does not read its standard input")

    def unread(self) -> int:
        """Bytes of standard input that the child has not read yet."""
        if self._stdin < 0:
            return 0
        answer = fcntl.ioctl(self._stdin, termios.FIONREAD, b"\0\0\0\0")
        return int(struct.unpack("i", answer)[0])

    def close_input(self) -> None:
        """Lets the child see the end of its standard input."""
        if self._stdin >= 0:
            self._close(self._stdin)
            self._stdin = -1

    def signal(self, number: signal.Signals) -> None:
        """Signals the child; nothing happens when it has ended."""
        if self.returncode is None:
            signal.pidfd_send_signal(self._pidfd, number)

    async def wait(self) -> int:
        """The return code, once the child has ended and is reaped."""
        return await asyncio.shield(self._ended)

    async def ended_within(self, seconds: float) -> bool:
        """Whether the child has ended within the time."""
        done, _ = await asyncio.wait([self._ended], timeout=seconds)
        return bool(done)

    async def kill(self) -> int:
        """Ends the child now and reaps it; returns its return code."""
        self.signal(signal.SIGKILL)
        return await self.wait()

    def _read_stdout(self) -> None:
        data = self._read(self._stdout)
        if data and self._on_output is not None:
            self._on_output(data)

    def _read_stderr(self) -> None:
        data = self._read(self._stderr)
        if data:
            self._keep(data)

    def _read(self, descriptor: int) -> bytes | None:
        try:
            data = os.read(descriptor, 65536)
        except BlockingIOError:
            return None
        if not data:
            self._loop.remove_reader(descriptor)
        return data

    def _reap(self) -> None:
        returncode = self._process.poll()
        if returncode is None:
            return
        for descriptor in (self._stdout, self._stderr, self._pidfd):
            self._loop.remove_reader(descriptor)
        # A dead child's pipes hold at most what fits in them, unless a grandchild keeps writing.
        self._drain(self._stdout, self._on_output)
        self._drain(self._stderr, self._keep)
        self.close_input()
        self._close(self._stdout, self._stderr, self._pidfd)
        self.returncode = returncode
        if not self._ended.done():
            self._ended.set_result(returncode)
        if self._on_exit is not None:
            self._on_exit(returncode)

    def _keep(self, data: bytes) -> None:
        self.stderr = (self.stderr + data)[-STDERR_KEPT:]
        if self._on_error_output is not None:
            self._on_error_output(data)

    def _drain(self, descriptor: int, take: Callable[[bytes], None] | None) -> None:
        for _ in range(32):
            data = self._read(descriptor)
            if not data:
                return
            if take is not None:
                take(data)

    @staticmethod
    def _close(*descriptors: int) -> None:
        for descriptor in descriptors:
            os.close(descriptor)


class Lines:
    """Cuts a child's output into lines of at most `limit` bytes and hands each to `on_line`.

    A longer line is handed on cut off, once; the rest of it is dropped.
    """

    def __init__(self, on_line: Callable[[bytes], None], limit: int = 1 << 20) -> None:
        self._on_line = on_line
        self._limit = limit
        self._held = b""
        self._skipping = False

    def __call__(self, data: bytes) -> None:
        *whole, rest = data.split(b"\n")
        for line in whole:
            line = self._held + line
            self._held = b""
            if self._skipping:
                self._skipping = False
            else:
                self._on_line(line[: self._limit])
        if self._skipping:
            return
        self._held += rest
        if len(self._held) > self._limit:
            self._on_line(self._held[: self._limit])
            self._held = b""
            self._skipping = True
