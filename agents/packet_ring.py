"""Frames of one interface from a ring that the kernel fills (AF_PACKET, TPACKET_V3): a block of them at a
time."""

from __future__ import annotations

import contextlib
import mmap
import select
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

ETH_P_ALL = 3
SOL_PACKET = 263
PACKET_ADD_MEMBERSHIP, PACKET_RX_RING, PACKET_STATISTICS, PACKET_VERSION = 1, 5, 6, 10
PACKET_MR_PROMISC = 1
TPACKET_V3 = 2
PACKET_OUTGOING = 4
BLOCK_BYTES, BLOCKS = 256 << 10, 32
"""All the memory that frames wait in: what comes while it is full is dropped by the kernel, and counted."""
RETIRE_MS = 50
"""A block that is not full is handed over after so long, so that a quiet interface is seen at once, too."""

_REQUEST = struct.Struct("=7I")  # tpacket_req3
_BLOCK = struct.Struct("=III")  # from byte 8 of a block: its status, how many frames, where the first is
_FRAME = struct.Struct("=IIIIIIHH")  # tpacket3_hdr: next, sec, nsec, snaplen, len, status, mac, net
_TYPE_AT = 48 + 10  # sll_pkttype of the sockaddr_ll behind the aligned tpacket3_hdr
_STATISTICS = struct.Struct("=III")
_STATUS_AT, STATUS_USER, STATUS_KERNEL = 8, 1, 0


@dataclass(frozen=True)
class Frame:
    """One frame: `data` is what was kept of its `length` bytes, until the next block is asked for."""

    when_ns: int
    data: memoryview
    length: int
    outgoing: bool


class PacketRing:
    """Everything that crosses `interface`, in both directions, from now on; a context manager.

    `received` and `dropped` grow with each call of `count`. Raises `OSError`.
    """

    def __init__(self, interface: str) -> None:
        self.received = self.dropped = 0
        self._interface = interface
        self._next = 0
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        try:
            index = socket.if_nametoindex(interface)
            self._socket.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V3)
            request = _REQUEST.pack(BLOCK_BYTES, BLOCKS, 2048, BLOCK_BYTES // 2048 * BLOCKS, RETIRE_MS, 0, 0)
            self._socket.setsockopt(SOL_PACKET, PACKET_RX_RING, request)
            self._map = mmap.mmap(self._socket.fileno(), BLOCK_BYTES * BLOCKS)
            # A bridge hands only what is for itself to those who listen at it, unless it is asked for all.
            membership = struct.pack("=iHH8s", index, PACKET_MR_PROMISC, 0, b"")
            self._socket.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, membership)
            self._socket.bind((interface, ETH_P_ALL))
        except BaseException:
            self._socket.close()
            raise
        self._memory = memoryview(self._map)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
        with contextlib.suppress(BufferError):  # a frame is still in somebody's hands
            self._memory.release()
            self._map.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def wait(self, others: list[int], seconds: float) -> list[int]:
        """Waits until a block is there, or one of the `others` is readable; these are returned."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN | select.POLLERR)
        for other in others:
            poll.register(other, select.POLLIN)
        ready = [descriptor for descriptor, _ in poll.poll(seconds * 1000)]
        if self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            socket.if_nametoindex(self._interface)  # it is only down, and may come up again, or this raises
        return [descriptor for descriptor in ready if descriptor in others]

    def blocks(self) -> Iterator[list[Frame]]:
        """The frames of each block that is there now; a block is the kernel's again when the next is asked
        for."""
        while True:
            start = self._next * BLOCK_BYTES
            status, count, at = _BLOCK.unpack_from(self._memory, start + _STATUS_AT)
            if not status & STATUS_USER:
                return
            frames = []
            try:
                at += start
                for _ in range(count):
                    frames.append(self._frame(at))
                    at += _FRAME.unpack_from(self._memory, at)[0]
                yield frames
            finally:
                for frame in frames:
                    frame.data.release()
                struct.pack_into("=I", self._memory, start + _STATUS_AT, STATUS_KERNEL)
                self._next = (self._next + 1) % BLOCKS

    def _frame(self, at: int) -> Frame:
        _, sec, nsec, kept, length, _, mac, _ = _FRAME.unpack_from(self._memory, at)
        data = self._memory[at + mac : at + mac + kept]
        return Frame(sec * 1_000_000_000 + nsec, data, length, self._memory[at + _TYPE_AT] == PACKET_OUTGOING)

    def count(self) -> None:
        """Brings `received` and `dropped` up to date; the kernel's own begin anew each time."""
        answer = self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, _STATISTICS.size)
        packets, drops, _ = _STATISTICS.unpack(answer)
        self.received += packets
        self.dropped += drops
