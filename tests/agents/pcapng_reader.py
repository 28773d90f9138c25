"""A reader of pcapng as the specification has it, which knows nothing of our writer; strict about every
length."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field


@dataclass
class Stream:
    """What a stream of one interface holds; statistics are (time, received, dropped)."""

    interface: tuple[str, str, int] = ("", "", 0)
    frames: list[tuple[int, bytes, int, int]] = field(default_factory=list)
    statistics: list[tuple[int, int, int]] = field(default_factory=list)


def read(data: bytes) -> Stream:
    """The stream, which may have been cut between two blocks. AssertionError where it breaks the format."""
    found = Stream()
    at, first = 0, True
    while at < len(data):
        kind, length = struct.unpack_from("<II", data, at)
        assert length % 4 == 0 and at + length <= len(data)
        assert struct.unpack_from("<I", data, at + length - 4) == (length,)
        body = data[at + 8 : at + length - 4]
        assert (kind == 0x0A0D0D0A) == first
        first, at = False, at + length
        if kind == 0x0A0D0D0A:
            assert struct.unpack_from("<IHHq", body) == (0x1A2B3C4D, 1, 0, -1)
            options(body[16:])
        elif kind == 1:
            link, _, snaplen = struct.unpack_from("<HHI", body)
            had = options(body[8:])
            assert (link, had[9]) == (1, b"\x09")
            found.interface = (had[2].decode(), had[3].decode(), snaplen)
        elif kind == 6:
            number, high, low, kept, length = struct.unpack_from("<IIIII", body)
            assert number == 0
            had = options(body[20 + (kept + 3) // 4 * 4 :])
            direction = int.from_bytes(had[2], "little")
            found.frames.append((high << 32 | low, body[20 : 20 + kept], length, direction))
        else:
            assert kind == 5
            _, high, low = struct.unpack_from("<III", body)
            had = options(body[12:])
            counts = (int.from_bytes(had[4], "little"), int.from_bytes(had[5], "little"))
            found.statistics.append((high << 32 | low, *counts))
    return found


def options(data: bytes) -> dict[int, bytes]:
    """Options by code."""
    found: dict[int, bytes] = {}
    at = 0
    while True:
        code, length = struct.unpack_from("<HH", data, at)
        at += 4
        if code == 0:
            assert (length, at) == (0, len(data))
            return found
        found[code] = data[at : at + length]
        assert len(found[code]) == length
        at += (length + 3) // 4 * 4
