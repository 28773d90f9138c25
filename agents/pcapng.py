"""The pcapng blocks of a capture of one interface (draft-ietf-opsawg-pcapng), little-endian."""

from __future__ import annotations

import struct

SECTION_HEADER, INTERFACE_DESCRIPTION, INTERFACE_STATISTICS, ENHANCED_PACKET = 0x0A0D0D0A, 1, 5, 6
BYTE_ORDER_MAGIC = 0x1A2B3C4D
ETHERNET = 1
"""The link type (LINKTYPE_ETHERNET)."""
NANOSECONDS = 9
"""The resolution of time stamps: 10^-9 s (if_tsresol)."""
IF_NAME, IF_DESCRIPTION, IF_TSRESOL, IF_OS = 2, 3, 9, 12
SHB_USERAPPL, EPB_FLAGS, ISB_IFRECV, ISB_IFDROP = 4, 2, 4, 5
INBOUND, OUTBOUND = 1, 2

_HEAD = struct.Struct("<II")
_LENGTH = struct.Struct("<I")
_PACKET = struct.Struct("<IIIIIII")
_FLAGS = struct.pack("<HHI", EPB_FLAGS, 4, 0)[:4]
_FLAGS_TAIL = struct.Struct("<III")  # the flags, the end of the options, the block's length again
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + value + _PADDING[len(value) % 4]


def _block(kind: int, body: bytes) -> bytes:
    length = len(body) + 12
    return _HEAD.pack(kind, length) + body + _LENGTH.pack(length)


def header(interface: str, description: str, snaplen: int) -> bytes:
    """The blocks that a capture begins with."""
    end = _option(0, b"")
    section = struct.pack("<IHHq", BYTE_ORDER_MAGIC, 1, 0, -1) + _option(SHB_USERAPPL, b"transship") + end
    options = (
        _option(IF_NAME, interface.encode())
        + _option(IF_DESCRIPTION, description.encode())
        + _option(IF_TSRESOL, bytes([NANOSECONDS]))
        + end
    )
    described = struct.pack("<HHI", ETHERNET, 0, snaplen) + options
    return _block(SECTION_HEADER, section) + _block(INTERFACE_DESCRIPTION, described)


def packet(
    when_ns: int, frame: bytes | memoryview, length: int, direction: int
) -> tuple[bytes, bytes | memoryview, bytes]:
    """A frame of `length` bytes, of which `frame` was kept: what precedes it, itself, what follows."""
    kept = len(frame)
    padding = _PADDING[kept % 4]
    total = _HEAD.size + 20 + kept + len(padding) + len(_FLAGS) + _FLAGS_TAIL.size
    before = _PACKET.pack(ENHANCED_PACKET, total, 0, when_ns >> 32, when_ns & 0xFFFFFFFF, kept, length)
    return before, frame, padding + _FLAGS + _FLAGS_TAIL.pack(direction, 0, total)


def statistics(when_ns: int, received: int, dropped: int) -> bytes:
    """How many frames came since the capture began, and how many of them it had no room for."""
    body = (
        struct.pack("<III", 0, when_ns >> 32, when_ns & 0xFFFFFFFF)
        + _option(ISB_IFRECV, struct.pack("<Q", received))
        + _option(ISB_IFDROP, struct.pack("<Q", dropped))
        + _option(0, b"")
    )
    return _block(INTERFACE_STATISTICS, body)
