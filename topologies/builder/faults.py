"""Planted faults: chosen datagrams of one station vanish from, or appear twice on, one network.

They test the books. A fault acts where a station's frames enter the network, before the shaper, and only the
receiver's sequence numbers show it: the datagram was sent, and no counter says that it was dropped.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from typing import TypeAlias

from topologies.builder import messages
from topologies.builder.bpf import (
    BYTE,
    CLONE_REDIRECT,
    DOUBLE,
    FRAME,
    HALF,
    R0,
    R1,
    R2,
    R3,
    R4,
    R6,
    R7,
    R8,
    SKB_LOAD_BYTES,
    WORD,
    Assembler,
    load_classifier,
)
from topologies.builder.errors import FaultError, NoSuchLab
from topologies.builder.netlink import Channel, NetlinkError
from topologies.builder.netns import enter_namespace, in_thread
from topologies.record import Record

HEADER_MAGIC = 0x54534850
"""The first 32 bits of every measured datagram's payload, big-endian."""
SEQUENCE_OFFSET = 8
"""Where the 64-bit big-endian sequence number starts in the payload: after the magic and the flow."""
MAX_RANGES = 1000

Selection: TypeAlias = Iterable[int | tuple[int, int]]
"""Sequence numbers and inclusive ranges of them."""

_PRIORITY = 1
_ETHERNET, _UDP = 14, 8
_SKB_MARK, _SKB_PROTOCOL, _SKB_IFINDEX = 8, 16, 40  # offsets in struct __sk_buff
_IPV4 = 0x0008  # 0x0800 as it stands in memory
_PASS, _TAKE = -1, 4  # TC_ACT_UNSPEC: the next filter decides; TC_ACT_STOLEN: gone, and no drop counted
_INGRESS = 1
_COPY_MARK = 0x54534332
"""On a copy on its way in, so that it is not copied again."""


@dataclass(frozen=True)
class Fault:
    """A planted fault, to be given to `clear`."""

    network: str
    station: str
    namespace: str
    port: str
    index: int


def plant(
    record: Record,
    network: str,
    station: str,
    drop: Selection = (),
    duplicate: Selection = (),
    offset: int = SEQUENCE_OFFSET,
    magic: int | None = HEADER_MAGIC,
    flow: int | None = None,
) -> Fault:
    """Make datagrams that `station` sends on `network` vanish or appear twice, by sequence number.

    Args:
        drop, duplicate: numbers (0 to 2**64-1) and inclusive ranges (first, last); no number in both.
        offset: of the 64-bit big-endian sequence number in the UDP payload, in bytes.
        magic: act only on payloads that start with this 32-bit number; None for any.
        flow: act only on payloads whose second 32 bits are this number; None for any.

    Raises:
        NoSuchLab: no such network, or the station is not in it, or the lab is gone.
        FaultError: a bad selection, a fault already planted there, or the kernel refused.
    """
    dropped, duplicated = _ranges(drop), _ranges(duplicate)
    both = [(a, b) for a, b in dropped for c, d in duplicated if a <= d and c <= b]
    if both:
        raise FaultError(f"sequence numbers {both[0][0]} to {both[0][1]} are to be dropped and duplicated")
    if not 0 <= offset <= 8000:
        raise FaultError(f"offset must be 0 to 8000 bytes, not {offset}")
    if network not in record.networks:
        raise NoSuchLab(f"lab {record.lab!r} has no network {network!r}")
    port = next((port for port in record.networks[network].port_details if port.host == station), None)
    if port is None:
        raise NoSuchLab(f"{station!r} is not a station of {network!r}")
    fault = Fault(network, station, record.namespace, port.name, port.index)
    code = _program(dropped, duplicated, offset, magic, flow)

    def attach(channel: Channel) -> None:
        program = load_classifier(code, "transship_fault")
        try:
            channel.send(
                [messages.filter_program(port.index, port.name, _PRIORITY, program, "transship-fault")]
            )
        finally:
            os.close(program)

    try:
        _inside(fault, attach)
    except OSError as error:
        if error.errno == errno.EEXIST:
            raise FaultError(f"{station!r} has a planted fault on {network!r} already") from error
        raise FaultError(f"no fault planted for {station!r} on {network!r}: {error.strerror}") from error
    return fault


def clear(fault: Fault) -> None:
    """Take a fault away; no error when it, or its lab, is gone."""

    def detach(channel: Channel) -> None:
        with contextlib.suppress(NetlinkError):
            channel.send([messages.remove_filter(fault.index, fault.port, _PRIORITY, "bpf")])

    with contextlib.suppress(FileNotFoundError):
        _inside(fault, detach)


def _inside(fault: Fault, work: Callable[[Channel], None]) -> None:
    def run() -> None:
        enter_namespace(fault.namespace)
        with closing(Channel()) as channel:
            work(channel)

    in_thread(run)


def _ranges(selection: Selection) -> list[tuple[int, int]]:
    """Sorted, merged ranges."""
    found: list[tuple[int, int]] = []
    for first, last in sorted((item, item) if isinstance(item, int) else item for item in selection):
        if not 0 <= first <= last < 1 << 64:
            raise FaultError(f"[{first}, {last}] is not a range of sequence numbers")
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    if len(found) > MAX_RANGES:
        raise FaultError(f"{len(found)} separate ranges of sequence numbers; at most {MAX_RANGES}")
    return found


def _program(
    drop: list[tuple[int, int]],
    duplicate: list[tuple[int, int]],
    offset: int,
    magic: int | None,
    flow: int | None,
) -> bytes:
    a = Assembler()
    a.copy(R6, R1)
    a.load(WORD, R1, R6, _SKB_MARK)
    a.jump_if(R1, "==", _COPY_MARK, "copy")
    a.load(WORD, R1, R6, _SKB_PROTOCOL)
    a.jump_if(R1, "!=", _IPV4, "pass")
    a.move(R2, _ETHERNET)
    _load_bytes(a, 12)
    a.load(HALF, R1, FRAME, -16 + 6)
    a.from_network_order(R1, 16)
    a.mask(R1, 0x1FFF)
    a.jump_if(R1, "!=", 0, "pass")  # a later fragment has no UDP header
    a.load(BYTE, R1, FRAME, -16 + 9)
    a.jump_if(R1, "!=", 17, "pass")
    a.load(BYTE, R7, FRAME, -16)
    a.mask(R7, 0xF)
    a.shift_left(R7, 2)
    a.add(R7, _ETHERNET + _UDP)
    if magic is not None or flow is not None:
        a.copy(R2, R7)
        _load_bytes(a, 8)
        for wanted, place in ((magic, 0), (flow, 4)):
            if wanted is not None:
                a.load(WORD, R1, FRAME, -16 + place)
                a.from_network_order(R1, 32)
                a.constant(R2, wanted)
                a.jump_if_register(R1, "!=", R2, "pass")
    a.copy(R2, R7)
    a.add(R2, offset)
    _load_bytes(a, 8)
    a.load(DOUBLE, R8, FRAME, -16)
    a.from_network_order(R8, 64)
    # In rising order, so that a number below a range's start is in none of the later ones, either.
    targets = sorted(
        [(*numbers, "drop") for numbers in drop] + [(*numbers, "duplicate") for numbers in duplicate]
    )
    for first, last, target in targets:
        a.constant(R1, first)
        a.jump_if_register(R8, "<", R1, "pass")
        a.constant(R1, last)
        a.jump_if_register(R8, "<=", R1, target)
    a.label("pass")
    a.leave(_PASS)
    # The verifier refuses what cannot be reached.
    if drop:
        a.label("drop")
        a.leave(_TAKE)
    if duplicate:
        a.label("duplicate")
        a.move(R1, _COPY_MARK)
        a.store(WORD, R6, _SKB_MARK, R1)
        a.copy(R1, R6)
        a.load(WORD, R2, R6, _SKB_IFINDEX)
        a.move(R3, _INGRESS)
        a.call(CLONE_REDIRECT)
    a.label("copy")
    a.move(R1, 0)
    a.store(WORD, R6, _SKB_MARK, R1)
    a.leave(_PASS)
    return a.code()


def _load_bytes(a: Assembler, count: int) -> None:
    """Copy bytes of the frame, from the offset in R2, to the frame pointer - 16; a shorter frame passes."""
    a.copy(R1, R6)
    a.copy(R3, FRAME)
    a.add(R3, -16)
    a.move(R4, count)
    a.call(SKB_LOAD_BYTES)
    a.jump_if(R0, "!=", 0, "pass")
