"""The six calls of Container Shipping from Python: attach to a manager, open endpoints, move containers.

A process has one attachment, and a child made with fork has none: what it inherits is its parent's.
Reference, with what is protected from whom: docs/python-api.md. The calls themselves: include/cs.h.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import math
import os
import select
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from agents.shipping._shipping import ffi, lib
from agents.shipping.calls import OwnershipError, call, enter, failure, leave
from agents.shipping.containers import Container

if TYPE_CHECKING:
    from agents.shipping.framebuffer import Framebuffer, View

__all__ = ["Attachment", "Container", "Endpoint", "OwnershipError", "attach"]

Address = tuple[str, int]

# Looked up once: in a call that takes a microsecond, a look into the library's names shows.
_alloc, _read, _write_one = lib.cs_alloc, lib.cs_read, lib.ts_write_one
_PAGE, _MAPALL, _MAPNOW, _DONTWAIT = lib.CS_PAGE_SIZE, lib.CS_MAPALL, lib.CS_MAPNOW, lib.CS_DONTWAIT
_address = ffi.new("void *[1]")  # of the container just allocated, until `leave`


def attach(manager_socket: str | os.PathLike[str]) -> Attachment:
    """Attach this process to the manager behind that Unix socket; as a context manager, until its end.

    Raises OSError: FileNotFoundError or ConnectionRefusedError where no manager serves, BrokenPipeError where
    it serves another user, EISCONN where this process is attached already.
    """
    return Attachment(manager_socket)


class Attachment:
    """This process's membership in a host: its containers and its endpoints."""

    def __init__(self, manager_socket: str | os.PathLike[str]) -> None:
        self._owned: dict[int, Container] = {}
        self._endpoints: set[Endpoint] = set()
        path = os.fsencode(manager_socket)
        if b"\0" in path:
            raise ValueError(f"the path of a manager's socket has a null byte in it: {manager_socket!r}")
        error = call(lib.cs_attach, path)
        if error < 0:
            raise failure(-error, f"attach to {os.fspath(manager_socket)}")
        self._attached = True

    def open_udp(
        self, local: Address, remote: Address | None, queue: int, timeout: float | None = None
    ) -> Endpoint:
        """A UDP endpoint between two addresses, each (IPv4 address, port).

        Local port 0 is any free one; remote None receives from anyone and cannot write. `queue`: datagrams
        that may wait in it. `timeout`: seconds that a call waits before TimeoutError; None is for ever.
        Raises OSError (address or port not to be had, network not reached, too many), ValueError.
        """
        self._check("open an endpoint")
        (ours, our_port), (theirs, their_port) = _numbers(local), _numbers(remote or ("0.0.0.0", 0))
        fd = call(lib.cs_open_udp, ours, our_port, theirs, their_port, queue, _milliseconds(timeout))
        return self._opened(fd, f"UDP {local[0]}:{local[1]}", timeout)

    def open_channel(self, name: str, queue: int, timeout: float | None = None) -> Endpoint:
        """One end of the local channel of that name (1 to 63 bytes); the first two to open it are its ends.

        What is written before the other end is there waits for it, and what a read leaves of a message stays
        for the next. When the other end has closed or died, a read returns what it had written, then no
        containers at all, and a write raises BrokenPipeError. `queue`: containers that may wait in each
        direction; the first to open decides. `timeout`: as for `open_udp`.
        Raises OSError (EADDRINUSE: it has two ends already; too many endpoints), ValueError.
        """
        self._check("open a channel")
        encoded = name.encode()
        if not 1 <= len(encoded) <= 63 or b"\0" in encoded:
            raise ValueError(f"a channel named {name!r}; 1 to 63 bytes expected, none of them null")
        fd = call(lib.cs_open_channel, encoded, queue, _milliseconds(timeout))
        return self._opened(fd, f"channel {name}", timeout)

    def open_framebuffer(self, name: str, timeout: float | None = None) -> Framebuffer:
        """The host's frame buffer of that name (1 to 63 bytes), made when first opened: 640x480, 8 bits.

        What is written to it is drawn behind what was written before, and a frame that is full is shown.
        Several writers take turns frame by frame. Closing it waits until all is drawn. `timeout`: as for
        `open_udp`, also for that. Raises OSError (ENOSPC: the host has too many), ValueError.
        """
        from agents.shipping.framebuffer import Framebuffer, encoded_name  # made from what is defined here

        self._check("open a frame buffer")
        fd = call(lib.cs_open_framebuffer, encoded_name(name), _milliseconds(timeout))
        if fd < 0:
            raise failure(-fd, f"open frame buffer {name}")
        return Framebuffer(self, fd, f"frame buffer {name}", timeout)

    def view_framebuffer(self, name: str) -> View:
        """Look at what the frame buffer of that name shows. Raises FileNotFoundError, ValueError."""
        from agents.shipping.framebuffer import view_of_host

        self._check("look at a frame buffer")
        return view_of_host(name)

    def open_file(
        self, file: str | os.PathLike[str] | int, flags: int = os.O_RDONLY, timeout: float | None = None
    ) -> Endpoint:
        """A regular file, read from or written to front to back; this process opens it, not the manager.

        `file`: a path, or the descriptor of an open file, which is used from where it stands and stays as it
        is. `flags`: as for os.open; os.O_RDONLY, or os.O_WRONLY with os.O_CREAT, O_TRUNC, ... A read at the
        end returns no containers. A write is accepted before it is done: what then fails is raised by a later
        `write` and by `close`, which waits until all is written. `timeout`: as for `open_udp`.
        Raises OSError as os.open does, and EISDIR or EINVAL for what is no regular file; ValueError.
        """
        self._check("open a file")
        writes = flags & os.O_ACCMODE == os.O_WRONLY
        if flags & os.O_ACCMODE == os.O_RDWR or (writes and flags & os.O_APPEND):
            raise ValueError(f"flags {flags:#o} for a file; O_RDONLY or O_WRONLY expected, without O_APPEND")
        name = f"file {os.fsdecode(file)}" if not isinstance(file, int) else f"file descriptor {file}"
        if "\0" in name:
            raise ValueError(f"the path of a file has a null byte in it: {file!r}")
        if isinstance(file, int):
            fd = call(lib.cs_adopt_file, file, flags, _milliseconds(timeout))
        else:
            fd = call(lib.cs_open_file, os.fsencode(file), flags, _milliseconds(timeout))
        if fd == -errno.EINVAL:
            raise OSError(errno.EINVAL, f"open {name}: it is no regular file")
        if fd == -errno.EPERM:
            raise PermissionError(errno.EPERM, f"open {name}: {os.strerror(errno.EPERM)}")
        endpoint = self._opened(fd, name, timeout)
        endpoint._writes_file = writes
        return endpoint

    def alloc(self, size: int, map: bool = False) -> Container:
        """A new container of at least `size` bytes, its window on the first `size`; what is in it may be
        left over from its last owner (docs/protection.md).

        Raises OSError with ENOBUFS (no free pages) or EINVAL (more bytes than the pool has, or none).
        """
        self._check("allocate a container")
        enter()
        try:
            cid = _alloc(size, _address, _MAPNOW if map else 0)
            address = _address[0]
        finally:
            leave()
        if cid < 0:
            raise failure(-cid, f"allocate a container of {size} bytes")
        return Container(self._owned, cid, 0, size, -(-size // _PAGE) * _PAGE, address)

    def close(self) -> None:
        """Detach: endpoints are closed and the manager takes back all containers.

        Raises BufferError, and stays attached, while NumPy arrays or slices over a container exist: their
        memory would be gone. Raises OSError, detached all the same, when closing an endpoint does: a file of
        which not all could be written.
        """
        if not self._attached:
            return
        for container in self._owned.values():
            container.release_views()
        with contextlib.ExitStack() as closing:  # all of it, whatever raises; the last first
            closing.callback(self._detach)
            for endpoint in self._endpoints:
                closing.callback(endpoint.close)

    def _detach(self) -> None:
        call(lib.cs_detach)
        self._attached = False
        for container in list(self._owned.values()):
            container.forget()

    def _check(self, attempt: str) -> None:
        if not self._attached:
            raise failure(errno.ENOTCONN, attempt)

    def _opened(self, fd: int, name: str, timeout: float | None) -> Endpoint:
        if fd < 0:
            raise failure(-fd, f"open {name}")
        return Endpoint(self, fd, name, timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Endpoint:
    """An open device: messages are read from it and written to it, each one or more containers.

    Made by an `open_...` of the attachment; every kind of device is used in the same way.
    """

    def __init__(self, host: Attachment, fd: int, name: str, timeout: float | None) -> None:
        self.name = name
        self._host = host
        self._fd = fd  # the library's; -1: closed
        self._timeout = timeout
        self._writes_file = False
        self._reading = False  # a task is in read_async,
        self._reader: asyncio.Future[None] | None = None  # and sleeps on this
        # One descriptor for both things that end a wait: a message, and the manager's end.
        self._poll = select.epoll()
        self._poll.register(fd, select.EPOLLIN)
        self._poll.register(lib.cs_manager_fd(), 0)  # only its hanging up
        host._endpoints.add(self)
        self._make_room(1)  # nobody else has it yet

    def read(self, size: int, max_containers: int, map: bool = False, wait: bool = True) -> list[Container]:
        """The next message: at most `size` bytes in at most `max_containers` containers, this process's from
        now on. What does not fit of a datagram is cut off, as recv(2) does; of a channel's message it stays
        for the next read. None at all: the end of a channel. With `map` they are mapped at once.

        Raises TimeoutError, BlockingIOError (with wait=False, nothing there), BrokenPipeError (the manager
        has gone) and other OSErrors. A signal's handler runs while it waits, and the wait goes on after it.
        """
        options = (_MAPALL if map else 0) | (0 if wait else _DONTWAIT)
        started = time.monotonic()
        while True:
            enter()
            try:
                if max_containers > self._room:
                    self._make_room(max_containers)
                count = _read(self._fd, size, max_containers, self._args, options)
                if count == 1:
                    return [self._container(0)]
                if count > 0:
                    return [self._container(i) for i in range(count)]
            finally:
                leave()
            if count != -errno.EINTR:
                break
            if self._timeout is not None and time.monotonic() - started >= self._timeout:
                count = -errno.ETIMEDOUT
                break
        if count < 0:
            raise failure(-count, f"read from {self.name}")
        return []

    def _make_room(self, containers: int) -> None:
        """Arrays for a read of so many, kept: making them costs more than reading. Only between `enter` and
        `leave`: another thread may be reading into the old ones."""
        self._numbers = [ffi.new("int[]", containers) for _ in range(4)]
        self._addresses = ffi.new("void *[]", containers)
        self._args = ffi.new("struct cs_args *", [*self._numbers, self._addresses])
        self._room = containers

    def _container(self, i: int) -> Container:
        """The one that was read as number i, before anybody else may read."""
        cids, offsets, lengths, sizes = self._numbers
        return Container(self._host._owned, cids[i], offsets[i], lengths[i], sizes[i], self._addresses[i])

    async def read_async(self, size: int, max_containers: int, map: bool = False) -> list[Container]:
        """`read` that lets the event loop run while it waits, for as long as it takes (`asyncio.timeout`).

        One task at a time: another one's call raises RuntimeError. Raises OSError as `read` does, also when
        the endpoint is closed meanwhile. Cancelled, it has taken nothing.
        """
        if self._reading:
            raise RuntimeError(f"another task is reading from {self.name}")
        self._reading = True
        loop = asyncio.get_running_loop()
        try:
            while not self.ready():
                self._reader = loop.create_future()
                loop.add_reader(self.fileno(), self._wake)
                await self._reader
            return self.read(size, max_containers, map, wait=False)
        finally:
            self._wake()
            self._reading = False

    def _wake(self) -> None:
        reader, self._reader = self._reader, None
        if reader is None:
            return
        reader.get_loop().remove_reader(self.fileno())
        if not reader.done():
            reader.set_result(None)

    def write(self, containers: Sequence[Container], wait: bool = True) -> None:
        """Give the containers away as one message, the bytes of their windows in that order.

        On any exception this process keeps all of them, though their plain views may have been released.
        Raises OwnershipError, BufferError (arrays over them exist), TimeoutError, BlockingIOError (with
        wait=False, no room), BrokenPipeError; OSError with EDESTADDRREQ (no remote) or EINVAL (none, one
        twice, or more than it can ever take).
        """
        options = 0 if wait else _DONTWAIT
        if len(containers) == 1:
            (container,) = containers
            cid = container.release_views()
            enter()
            try:
                error = _write_one(self._fd, cid, container._offset, container._length, options)
            finally:
                leave()
        else:
            cids = ffi.new("int[]", [container.release_views() for container in containers])
            offsets = ffi.new("int[]", [container._offset for container in containers])
            lengths = ffi.new("int[]", [container._length for container in containers])
            error = call(lib.cs_write, self._fd, len(containers), cids, offsets, lengths, options)
        if error < 0:
            raise failure(-error, f"write to {self.name}")
        for container in containers:
            container.forget()

    def ready(self) -> bool:
        """Whether a read would find a message at once. If not, `fileno` polls readable when one has come.

        Look, then wait, then look again: whoever polls without having been told False may sleep for ever.
        Raises BrokenPipeError when the manager has gone, OSError with EBADF when it is closed.
        """
        count = call(lib.cs_ready, self._fd)
        if count < 0:
            raise failure(-count, f"look at {self.name}")
        return count > 0

    def fileno(self) -> int:
        """A descriptor for poll, epoll, select and event loops: readable as `ready` says, and when the
        manager has gone. Only to wait for: it cannot be read. -1 when closed."""
        return -1 if self._poll.closed else self._poll.fileno()

    def close(self) -> None:
        """What was written is still sent; what was not read is lost. A second time does nothing.

        Of a written file: waits until all is written, and raises the first OSError that there was.
        """
        if self._fd < 0:
            return
        while (error := call(lib.cs_close, self._fd)) == -errno.EINTR:
            pass  # the signal's handler was run
        self._fd = -1
        self._wake()
        self._poll.close()
        self._host._endpoints.discard(self)
        # Without its manager it is closed all the same, but what was written to a file may not be there.
        if error < 0 and (error != -errno.EPIPE or self._writes_file):
            raise failure(-error, f"close {self.name}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _milliseconds(timeout: float | None) -> int:
    """Seconds, None for ever, as the C interface wants them."""
    if timeout is not None and not 0 <= timeout < math.inf:
        raise ValueError(f"a time-out of {timeout!r} s; seconds from 0 on or None expected")
    return -1 if timeout is None else math.ceil(timeout * 1000)


def _numbers(address: Address) -> tuple[int, int]:
    """(IPv4 address, port) as two numbers in host byte order."""
    host, port = address
    if not 0 <= port <= 65535:
        raise ValueError(f"port {port} of {host}; 0 to 65535 expected")
    return int(ipaddress.IPv4Address(host)), port
