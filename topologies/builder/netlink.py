"""A netlink socket of one namespace that takes whole batches of messages."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from types import TracebackType

from topologies.builder.messages import Message, numbered

_NETLINK_ROUTE = 0
_SOL_NETLINK = 270
_NETLINK_EXT_ACK, _NETLINK_CAP_ACK = 11, 10
_ERROR, _DONE = 2, 3
_HEADER = struct.Struct("=IHHII")
_BATCH = 64
"""Messages in flight. Each is acknowledged, and the answers must fit a default receive buffer (208 KiB)."""


class NetlinkError(OSError):
    """The kernel refused a request; `strerror` says which and why."""


class Channel:
    """A socket to the routing netlink of the namespace that the opening thread was in.

    It stays there whatever the thread does later, so one thread can serve many namespaces.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_ROUTE)
        for option in (_NETLINK_CAP_ACK, _NETLINK_EXT_ACK):
            self._socket.setsockopt(_SOL_NETLINK, option, 1)
        self._socket.settimeout(30)

    def __enter__(self) -> Channel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def fileno(self) -> int:
        """The descriptor; interface ioctls on it act in the channel's namespace."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def send(self, messages: Iterable[Message]) -> None:
        """Carry out every message in order.

        Raises:
            NetlinkError: the first one refused; later ones of its batch may have been carried out.
        """
        source = iter(messages)
        while batch := list(islice(source, _BATCH)):
            self._socket.sendto(b"".join(numbered(m, n) for n, m in enumerate(batch)), (0, 0))
            self._collect(batch)

    def dump(self, request: bytes) -> Iterator[bytes]:
        """Every message of the kernel's answer to a dump request, header included."""
        self._socket.sendto(request, (0, 0))
        while True:
            for kind, message in _messages(self._socket.recv(1 << 18)):
                if kind == _DONE:
                    return
                if kind == _ERROR:
                    raise _refusal(message, "reading the state of a namespace")
                yield message

    def _collect(self, batch: Sequence[Message]) -> None:
        waiting = len(batch)
        refused: NetlinkError | None = None
        while waiting:
            for kind, message in _messages(self._socket.recv(1 << 16)):
                if kind != _ERROR:
                    continue
                waiting -= 1
                sequence = _HEADER.unpack_from(message)[3]
                if refused is None and struct.unpack_from("=i", message, 16)[0]:
                    refused = _refusal(message, batch[sequence].attempted)
        if refused:
            raise refused


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind = struct.unpack_from("=IH", data, offset)
        yield kind, data[offset : offset + length]
        offset += (length + 3) & ~3


def _refusal(message: bytes, attempted: str) -> NetlinkError:
    number = -struct.unpack_from("=i", message, 16)[0]
    flags = struct.unpack_from("=H", message, 6)[0]
    detail = ""
    offset = 36  # the header, the error, the header of the request (whose body NETLINK_CAP_ACK leaves out)
    while flags & 0x200 and offset + 4 <= len(message):
        length, kind = struct.unpack_from("=HH", message, offset)
        if length < 4:
            break
        if kind & 0x3FFF == 1:  # NLMSGERR_ATTR_MSG
            detail = message[offset + 4 : offset + length].rstrip(b"\0").decode("utf-8", "replace")
        offset += (length + 3) & ~3
    reason = os.strerror(number) + (f" ({detail})" if detail else "")
    return NetlinkError(number, f"{attempted}: {reason}")
