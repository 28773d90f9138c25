"""Measured datagrams between hosts of a lab: paced, numbered, counted, and dated by the kernel."""

from __future__ import annotations

import contextlib
import socket
import statistics
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.support import PATIENCE_S, wait_until
from topologies.builder.netns import enter_namespace, in_thread

MAGIC = 0x54534850
SIZE = 4300
SEND_BUFFER = 4 << 20
LAST = b"\xfe" * 64
"""The datagram after the last: it does not overtake the others, so what has not come before it never will."""
SO_TIMESTAMPNS = 35
WINDOW = 40
"""Datagrams over which one rate is taken."""


@dataclass
class Flow:
    """What was sent and what came: sequence numbers, and when the kernel had each, in seconds."""

    sent: int = 0
    sequences: list[int] = field(default_factory=list)
    arrivals: list[float] = field(default_factory=list)

    def rates(self) -> list[float]:
        """Mb/s of payload, of each `WINDOW` datagrams in a row: a machine that stands still for a moment
        spoils few of them."""
        ends = zip(self.arrivals, self.arrivals[WINDOW:], strict=False)
        return [WINDOW * SIZE * 8 / (last - first) / 1e6 for first, last in ends if last > first]

    @property
    def mbps(self) -> float:
        """The usual rate."""
        return statistics.median(self.rates())

    def missing(self) -> list[int]:
        return sorted(set(range(self.sent)) - set(self.sequences))

    def twice(self) -> list[int]:
        return sorted({number for number in self.sequences if self.sequences.count(number) == 2})


def send(
    source: str, sink: str, address: str, seconds: float, mbps: float, flow: int = 1, port: int = 9000
) -> Flow:
    """Offer `mbps` of 4300-byte datagrams from namespace to namespace and wait for all that will come."""
    receiver, sender = _socket(sink), _socket(source)
    try:
        receiver.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
        receiver.bind((address, port))
        receiver.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        receiver.settimeout(PATIENCE_S)
        sender.setsockopt(socket.SOL_SOCKET, 32, SEND_BUFFER)  # SO_SNDBUFFORCE
        sender.connect((address, port))
        result = Flow()
        thread = threading.Thread(target=_receive, args=(receiver, result))
        thread.start()
        try:
            result.sent = _offer(sender, seconds, mbps, flow)
        finally:
            sender.send(LAST)
            thread.join()
        return result
    finally:
        receiver.close()
        sender.close()


def send_numbered(
    source: str, sink: str, address: str, count: int, dropped: Callable[[], int] = lambda: 0
) -> list[int]:
    """The numbers of those of `count` small datagrams that arrive, in order of arrival.

    Waits until as many have arrived or are counted as `dropped()` since the call.
    """
    before, arrived = dropped(), list[int]()
    with _socket(sink) as receiver, _socket(source) as sender:
        receiver.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
        receiver.bind((address, 9001))
        receiver.setblocking(False)
        sender.connect((address, 9001))

        def accounted() -> bool:
            with contextlib.suppress(BlockingIOError):
                while True:
                    arrived.append(int.from_bytes(receiver.recv(8), "big"))
            return len(arrived) + dropped() - before >= count

        for number in range(count):
            sender.send(number.to_bytes(8, "big") + bytes(100))
        wait_until(accounted, f"{count} datagrams to arrive or be counted")
    return arrived


def _socket(namespace: str) -> socket.socket:
    def make() -> socket.socket:
        enter_namespace(namespace)
        return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    return in_thread(make)


def _offer(sender: socket.socket, seconds: float, mbps: float, flow: int) -> int:
    datagram = bytearray(SIZE)
    struct.pack_into(">II", datagram, 0, MAGIC, flow)
    gap = SIZE * 8 / (mbps * 1e6)
    start = time.perf_counter()
    sent = 0
    while (elapsed := time.perf_counter() - start) < seconds:
        while sent < elapsed / gap and time.perf_counter() - start < seconds:
            struct.pack_into(">Q", datagram, 8, sent)
            sender.send(datagram)
            sent += 1
        time.sleep(0.0005)  # the pace, not a synchronisation
    return sent


def _receive(receiver: socket.socket, result: Flow) -> None:
    while True:
        datagram, ((_, _, moment), *_), _, _ = receiver.recvmsg(1 << 16, socket.CMSG_SPACE(16))
        if datagram == LAST:
            return
        seconds, nanoseconds = struct.unpack("=qq", moment)
        result.sequences.append(struct.unpack_from(">Q", datagram, 8)[0])
        result.arrivals.append(seconds + nanoseconds / 1e9)
