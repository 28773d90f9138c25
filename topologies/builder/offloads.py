"""Segmentation and receive offloads off, by the ethtool ioctl; checksum offload stays as it is (on).

With them on, a veth passes super-frames of up to 64 KiB, which no FDDI ring has and which bypass the MTU.
"""

from __future__ import annotations

import array
import fcntl
import re
import struct

_SIOCETHTOOL = 0x8946
_GET_STRINGS, _GET_STRING_COUNT, _SET_FEATURES = 0x1B, 0x37, 0x3B
_FEATURE_STRINGS = 4
_NAME_BYTES = 32
_known: list[bytes] = []
_OFF = re.compile(r"tx-(gso|tcp|udp|gre|ipxip|generic-seg|sctp-seg|esp-seg|fcoe-seg)|rx-(gro|lro|udp-gro)")


def turn_off(descriptor: int, names: list[str]) -> None:
    """Turn segmentation and receive coalescing off on interfaces of the namespace that `descriptor` is in."""
    request = _off_request(descriptor, names[0]) if names else b""
    for name in names:
        _ethtool(descriptor, name, array.array("B", request))


def _off_request(descriptor: int, name: str) -> bytes:
    # Which bit is which feature is the same for every interface of a kernel.
    if not _known:
        _known.append(_make_off_request(descriptor, name))
    return _known[0]


def _make_off_request(descriptor: int, name: str) -> bytes:
    header = array.array("B", struct.pack("=IIQ", _GET_STRING_COUNT, 0, 1 << _FEATURE_STRINGS) + bytes(4))
    _ethtool(descriptor, name, header)
    (count,) = struct.unpack_from("=I", header, 16)
    strings = array.array(
        "B", struct.pack("=III", _GET_STRINGS, _FEATURE_STRINGS, count) + bytes(_NAME_BYTES * count)
    )
    _ethtool(descriptor, name, strings)
    blocks = [0] * ((count + 31) // 32)
    for bit in range(count):
        start = 12 + bit * _NAME_BYTES
        text = bytes(strings[start : start + _NAME_BYTES]).split(b"\0")[0].decode()
        if _OFF.match(text):
            blocks[bit // 32] |= 1 << (bit % 32)
    return struct.pack("=II", _SET_FEATURES, len(blocks)) + b"".join(
        struct.pack("=II", valid, 0) for valid in blocks
    )


def _ethtool(descriptor: int, name: str, request: array.array[int]) -> None:
    location, _ = request.buffer_info()
    try:
        fcntl.ioctl(descriptor, _SIOCETHTOOL, struct.pack("=16sQ16x", name.encode(), location))
    except OSError as error:
        raise OSError(error.errno, f"setting the offloads of {name}: {error.strerror}") from None
