"""Frame buffers from Python: write frames as containers, set the geometry, look at the last whole frame."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from agents.shipping._shipping import ffi, lib
from agents.shipping.api import Endpoint
from agents.shipping.calls import call, failure

MOST_PIXELS = 16384  # a side; this and what follows as in include/cs.h
MOST_BYTES = 32 << 20  # a frame
DEPTHS = (8, 24, 32)
LIMITS = (1000, 10**10)
_MEMORY = "/memfd:transship-framebuffer "  # devices/framebuffer_memory.c makes it
_ATTEMPTS = 1000  # each fails only when frames were drawn, or the geometry set, faster than we copied


@dataclass(frozen=True)
class Geometry:
    """What a frame buffer shows and how fast it takes it: pixels of 8 (grey), 24 (R G B) or 32 bits (R G B A)
    and a bus limit in bytes/s, or None. `dma`: it fetches frames from the containers by itself; else the
    manager copies them. Raises ValueError for what cannot be."""

    width: int
    height: int
    bits: int = 8
    bus_limit: int | None = None
    dma: bool = False

    def __post_init__(self) -> None:
        for side, value in (("width", self.width), ("height", self.height)):
            if not 1 <= value <= MOST_PIXELS:
                raise ValueError(f"a {side} of {value} pixels; 1 to {MOST_PIXELS} expected")
        if self.bits not in DEPTHS:
            raise ValueError(f"{self.bits} bits per pixel; one of {', '.join(map(str, DEPTHS))} expected")
        if self.frame_bytes > MOST_BYTES:
            raise ValueError(f"a frame of {self.frame_bytes} bytes; at most {MOST_BYTES} expected")
        if self.bus_limit is not None and not LIMITS[0] <= self.bus_limit <= LIMITS[1]:
            raise ValueError(
                f"a bus limit of {self.bus_limit} bytes/s; {LIMITS[0]} to {LIMITS[1]} or None expected"
            )

    @property
    def frame_bytes(self) -> int:
        """Bytes of a frame: rows from the top, no padding."""
        return self.width * self.height * self.bits // 8


@dataclass(frozen=True)
class Frame:
    """A whole frame: the `number`th since the geometry was set."""

    number: int
    geometry: Geometry
    pixels: bytes


class Framebuffer(Endpoint):
    """A frame buffer opened for writing, see `Attachment.open_framebuffer`. It cannot be read."""

    @property
    def geometry(self) -> Geometry:
        """Setting it waits until all that was written is drawn; the picture is lost.

        Raises OSError with EBUSY (a frame is half drawn, or somebody else has it open), TimeoutError.
        """
        argument = ffi.new("struct cs_framebuffer *")
        self._ioctl(lib.CS_GET_FRAMEBUFFER, argument, "ask for the geometry")
        return _geometry(argument)

    @geometry.setter
    def geometry(self, wanted: Geometry) -> None:
        argument = ffi.new(
            "struct cs_framebuffer *",
            (wanted.bus_limit or 0, wanted.width, wanted.height, wanted.bits, wanted.dma),
        )
        self._ioctl(lib.CS_SET_FRAMEBUFFER, argument, f"set {wanted}")

    def drain(self) -> None:
        """Wait until all that was written is drawn. Raises TimeoutError."""
        self._ioctl(lib.CS_DRAIN, ffi.NULL, "wait until all is drawn")

    def _ioctl(self, request: int, argument: Any, attempt: str) -> None:
        while (error := call(lib.cs_ioctl, self._fd, request, argument)) == -errno.EINTR:
            pass  # the signal's handler was run
        if error < 0:
            raise failure(-error, f"{self.name}: {attempt}")


class View:
    """Looks at a frame buffer, see `Attachment.view_framebuffer` and `view_of_process`. `memory` gives a
    descriptor of its memory with the picture of that moment."""

    def __init__(self, name: str, memory: Callable[[], int]) -> None:
        self.name, self._memory = name, memory
        self._fd = -1
        self._open()

    def frame(self) -> Frame | None:
        """A copy of the last whole frame, never a torn one; None: there has been none.

        Raises BlockingIOError: it was drawn over each time; FileNotFoundError: it has made place for another.
        """
        if self._fd >= 0:
            self._open()  # what a device with DMA shows is copied there when somebody asks for it
        geometry, number = ffi.new("struct cs_framebuffer *"), ffi.new("uint64_t *")
        pixels, error = bytearray(), 0
        for _ in range(_ATTEMPTS):
            into = ffi.from_buffer(pixels)
            error = call(lib.cs_read_frame, self._fd, geometry, number, into, len(pixels))
            if error == 0:
                shown = _geometry(geometry)
                return Frame(number[0], shown, bytes(pixels[: shown.frame_bytes]))
            if error == -errno.ENODATA:
                return None
            if error == -errno.ESTALE:
                self._open()
            elif error == -errno.EMSGSIZE:
                pixels = bytearray(_geometry(geometry).frame_bytes)
            elif error != -errno.EAGAIN:
                break
        raise failure(-error, f"look at frame buffer {self.name}")

    def fileno(self) -> int:
        """The descriptor of its memory, which nobody can write to. -1 when closed."""
        return self._fd

    def close(self) -> None:
        """A second time does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def _open(self) -> None:
        fd = self._memory()
        self.close()
        self._fd = fd

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def view_of_host(name: str) -> View:
    """What the attached host's frame buffer of that name shows. Raises FileNotFoundError, ValueError."""

    def memory() -> int:
        fd = call(lib.cs_view_framebuffer, encoded_name(name))
        if fd < 0:
            raise failure(-fd, f"look at frame buffer {name}")
        return fd

    return View(name, memory)


def view_of_process(pid: int) -> View:
    """What a conventional display shows: its frame buffer is its own and goes with it. No manager is needed.

    Raises FileNotFoundError: there is no such process, or it has none; PermissionError: it is another user's.
    """

    def memory() -> int:
        try:
            for one in Path(f"/proc/{pid}/fd").iterdir():
                try:
                    if os.readlink(one).startswith(_MEMORY):
                        return os.open(one, os.O_RDONLY | os.O_CLOEXEC)
                except FileNotFoundError:
                    pass  # closed meanwhile
        except FileNotFoundError:
            raise FileNotFoundError(errno.ENOENT, f"there is no process {pid}") from None
        raise FileNotFoundError(errno.ENOENT, f"process {pid} has no frame buffer of its own")

    return View(f"of process {pid}", memory)


def encoded_name(name: str) -> bytes:
    """As the C interface wants it. Raises ValueError."""
    encoded = name.encode()
    if not 1 <= len(encoded) <= 63 or b"\0" in encoded:
        raise ValueError(f"a device named {name!r}; 1 to 63 bytes expected, none of them null")
    return encoded


def _geometry(c: Any) -> Geometry:
    return Geometry(c.width, c.height, c.bits, c.bus_limit or None, bool(c.dma))
