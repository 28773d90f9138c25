"""Measured datagrams between hosts of a lab: paced, numbered, counted."""

from __future__ import annotations

import socket
import struct
import threading
import time
from dataclasses import dataclass, field

from topologies.builder.netns import enter_namespace, in_thread

MAGIC = 0x54534850
SIZE = 4300
SEND_BUFFER = 4 << 20
_QUIET_SECONDS = 0.5


@dataclass
class Flow:
    """What was sent and what came: `mbps` counts payload bits between the first and the last arrival."""

    sent: int = 0
    sequences: list[int] = field(default_factory=list)
    mbps: float = 0.0

    def missing(self) -> list[int]:
        return sorted(set(range(self.sent)) - set(self.sequences))

    def twice(self) -> list[int]:
        return sorted({number for number in self.sequences if self.sequences.count(number) == 2})


def send(
    source: str, sink: str, address: str, seconds: float, mbps: float, flow: int = 1, port: int = 9000
) -> Flow:
    """Offer `mbps` of 4300-byte datagrams from namespace to namespace and wait until nothing more comes."""
    receiver, sender = _socket(sink), _socket(source)
    try:
        receiver.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
        receiver.bind((address, port))
        receiver.settimeout(_QUIET_SECONDS)
        sender.setsockopt(socket.SOL_SOCKET, 32, SEND_BUFFER)  # SO_SNDBUFFORCE
        sender.connect((address, port))
        result = Flow()
        done = threading.Event()
        thread = threading.Thread(target=_receive, args=(receiver, result, done))
        thread.start()
        try:
            result.sent = _offer(sender, seconds, mbps, flow)
        finally:
            done.set()
            thread.join()
        return result
    finally:
        receiver.close()
        sender.close()


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


def _receive(receiver: socket.socket, result: Flow, done: threading.Event) -> None:
    first = last = 0.0
    while True:
        try:
            datagram = receiver.recv(1 << 16)
        except TimeoutError:
            if done.is_set():
                break
            continue
        last = time.perf_counter()
        first = first or last
        result.sequences.append(struct.unpack_from(">Q", datagram, 8)[0])
    if last > first:
        result.mbps = (len(result.sequences) - 1) * SIZE * 8 / (last - first) / 1e6
