"""A network's gate: what it loses on purpose, and what is cut, counted frame by frame under names.

Filters at the network's side of every port look into memory that they share with this process: to cut, to
heal or to lose more is a word written there, so nothing that passes is disturbed. They are put in with the
first loss or cut and stay, so that their counters go on; a network that never had any pays nothing for them.

A frame is lost where it enters the network, if a number made from the seed, the port and how many frames came
before (splitmix64) is below the fraction: the same seed loses the same frames of each sender. netem can
do that only since Linux 6.5, and counts its losses together with what found its queue full.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import socket
import struct
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Self

from topologies.builder import messages
from topologies.builder.bpf import (
    DOUBLE,
    FRAME,
    R0,
    R1,
    R2,
    R3,
    R4,
    R6,
    R7,
    R8,
    R9,
    SKB_LOAD_BYTES,
    WORD,
    Assembler,
    load_classifier,
    number_of,
    share,
    shared_by_number,
)
from topologies.builder.netlink import Channel, NetlinkError
from topologies.record import NetworkRecord, Port, Record

SLOTS = 2048
"""Ports of a network, those that are to go and those that take their place."""
FIELDS = ("impairment_drops", "cut_in_drops", "cut_out_drops", "cut_other_drops")
"""What a port counts: IPv4 frames lost on purpose; those from and for its station that met a cut; other ones
(ARP, or for other stations) that met it."""

_PRIORITY = 5
"""After planted faults, before the redirect to a shared medium."""
_ROW = 64
_SIZE = _ROW * (1 + SLOTS)
_CLOSED, _THRESHOLD, _BEGIN, _FRAMES, _COUNTS = 0, 8, 8, 16, 24
_LOST, _CUT_IN, _CUT_OUT, _CUT_OTHER = (_COUNTS + 8 * place for place in range(len(FIELDS)))
_SKB_PROTOCOL = 16
_IPV4 = socket.htons(0x0800)
_PASS, _DROP = -1, 2  # TC_ACT_UNSPEC: the next filter decides; TC_ACT_SHOT
_GOLDEN = 0x9E3779B97F4A7C15
_MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_MASK = (1 << 64) - 1


class Gate:
    """The memory of a gate that stands; a context manager. Raises `OSError` when it is gone."""

    def __init__(self, number: int) -> None:
        descriptor = shared_by_number(number)
        try:
            self._memory = mmap.mmap(descriptor, _SIZE)
        finally:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._memory.close()

    def cut(self, network: NetworkRecord, closed: set[str]) -> None:
        """Close the network, or the ports named in `closed`, and open all others."""
        for port in network.port_details:
            self._write(_row(port) + _CLOSED, port.name in closed)
        self._write(_CLOSED, network.cut)

    def impair(self, network: NetworkRecord) -> None:
        """Lose what the network's impairments say, of every sender from the beginning of its pattern."""
        self._write(_THRESHOLD, 0)
        for port in network.port_details:
            self._write(_row(port) + _BEGIN, _beginning(network.impairments.seed, port.slot))
            self._write(_row(port) + _FRAMES, 0)
        self._write(_THRESHOLD, _threshold(network.impairments.loss))

    def begin(self, network: NetworkRecord, port: Port) -> None:
        """A new port, perhaps in the place of one that is gone, has counted nothing."""
        self._memory[_row(port) : _row(port) + _ROW] = bytes(_ROW)
        self._write(_row(port) + _BEGIN, _beginning(network.impairments.seed, port.slot))

    def counters(self, port: Port) -> dict[str, int]:
        """What a port has counted, by `FIELDS`."""
        values = struct.unpack_from(f"={len(FIELDS)}Q", self._memory, _row(port) + _COUNTS)
        return dict(zip(FIELDS, values, strict=True))

    def _write(self, place: int, value: int) -> None:
        struct.pack_into("=Q", self._memory, place, value)


def closed_ports(record: Record, network: NetworkRecord) -> set[str]:
    """The ports that pass nothing: cut, or of a host that is stopped."""
    return {
        port.name
        for port in network.port_details
        if port.cut or (port.host is not None and record.hosts[port.host].stopped)
    }


def settle(channel: Channel, record: Record, network: NetworkRecord, *, anew: bool) -> None:
    """Make a network's gate what the record says; there is none before something is to be lost or cut.

    `anew`: what is lost is also what the record says, from the beginning of its pattern. Raises `OSError`.
    """
    closed = closed_ports(record, network)
    if network.gate is None and not (network.impairments.loss or network.cut or closed):
        return
    if network.gate is None:
        network.gate = _make(channel, record, network)
    with Gate(network.gate) as gate:
        gate.cut(network, closed)
        if anew:
            gate.impair(network)


def _make(channel: Channel, record: Record, network: NetworkRecord) -> int:
    """Put a gate into a network: its number. Raises `OSError`; nothing is left of it then."""
    shared = share(_SIZE, "transship_gate")
    try:
        _attach(channel, shared, record, network.port_details)
        return number_of(shared)
    except BaseException:
        _remove(channel, network.port_details)
        raise
    finally:
        os.close(shared)


def extend(channel: Channel, record: Record, network: NetworkRecord, new: Sequence[Port]) -> None:
    """Put the filters of a network's gate, if it has one, on new ports. Raises `OSError`."""
    if network.gate is None or not new:
        return
    with Gate(network.gate) as gate:
        for port in new:
            gate.begin(network, port)
    shared = shared_by_number(network.gate)
    try:
        _attach(channel, shared, record, new)
    finally:
        os.close(shared)


def _attach(channel: Channel, shared: int, record: Record, ports: Iterable[Port]) -> None:
    macs = {interface.peer: interface.mac for host in record.hosts.values() for interface in host.interfaces}
    for port in ports:
        classify(channel, port)
        for code, where in (
            (_incoming(shared, port), messages.INGRESS_FILTERS),
            (_outgoing(shared, port, macs.get(port.name)), messages.EGRESS_FILTERS),
        ):
            program = load_classifier(code, "transship_gate")
            try:
                channel.send(
                    [
                        messages.filter_program(
                            port.index, port.name, _PRIORITY, program, "transship-gate", where
                        )
                    ]
                )
            finally:
                os.close(program)


def classify(channel: Channel, port: Port) -> None:
    """Give a port a place for filters, if it has none. Raises `OSError`."""
    try:
        channel.send([messages.classify(port.index, port.name)])
    except NetlinkError as error:
        if error.errno != errno.EEXIST:
            raise


def _remove(channel: Channel, ports: Iterable[Port]) -> None:
    """Take the filters away again, as far as they are there."""
    for port in ports:
        for where in (messages.INGRESS_FILTERS, messages.EGRESS_FILTERS):
            with contextlib.suppress(NetlinkError):
                channel.send([messages.remove_filter(port.index, port.name, _PRIORITY, "bpf", where)])


def counters(network: NetworkRecord) -> Iterator[tuple[str, dict[str, int]]]:
    """Each port of a network with a gate, and what it has counted. Raises `OSError`."""
    if network.gate is None:
        return
    with Gate(network.gate) as gate:
        for port in network.port_details:
            yield port.name, gate.counters(port)


def _row(port: Port) -> int:
    return _ROW * (1 + port.slot)


def _threshold(loss: float) -> int:
    """The 32-bit numbers below this one are lost."""
    return max(round(loss * (1 << 32)), int(loss > 0))


def _beginning(seed: int, slot: int) -> int:
    """Where a port's sequence of splitmix64 begins: far from that of every other port and seed."""
    return _mixed(_mixed(seed + _GOLDEN & _MASK) + slot * _GOLDEN & _MASK)


def _mixed(value: int) -> int:
    for shift, factor in _MIX:
        value = (value ^ value >> shift) * factor & _MASK
    return value ^ value >> 31


def _begun(shared: int, port: Port) -> Assembler:
    """R6: the frame, R7: the network's row, R8: the port's, R9: the protocol; jumps to `cut` where it is."""
    a = Assembler()
    a.copy(R6, R1)
    a.address(R7, shared, 0)
    a.address(R8, shared, _row(port))
    a.load(WORD, R9, R6, _SKB_PROTOCOL)
    a.load(DOUBLE, R1, R7, _CLOSED)
    a.load(DOUBLE, R2, R8, _CLOSED)
    a.combine(R1, "|", R2)
    a.jump_if(R1, "!=", 0, "cut")
    return a


def _count_and_drop(a: Assembler, label: str, field: int) -> None:
    a.label(label)
    a.move(R3, 1)
    a.add_in_memory(R8, field, R3)
    a.leave(_DROP)


def _incoming(shared: int, port: Port) -> bytes:
    a = _begun(shared, port)
    a.jump_if(R9, "!=", _IPV4, "pass")
    a.load(DOUBLE, R1, R7, _THRESHOLD)
    a.jump_if(R1, "==", 0, "pass")
    a.load(DOUBLE, R2, R8, _FRAMES)
    a.move(R3, 1)
    # Frames of one sender come one after the other; of a trunk perhaps two at once, which may then share a
    # number. To fetch and add in one step is known to Linux only since 5.12.
    a.add_in_memory(R8, _FRAMES, R3)
    a.constant(R3, _GOLDEN)
    a.combine(R2, "*", R3)
    a.load(DOUBLE, R3, R8, _BEGIN)
    a.combine(R2, "+", R3)
    for shift, factor in _MIX:
        a.copy(R3, R2)
        a.shift_right(R3, shift)
        a.combine(R2, "^", R3)
        a.constant(R3, factor)
        a.combine(R2, "*", R3)
    # The last step of splitmix64 is left out: of the 32 bits that are looked at it would change one.
    a.shift_right(R2, 32)
    a.jump_if_register(R2, "<", R1, "lose")
    a.label("pass")
    a.leave(_PASS)
    _count_and_drop(a, "lose", _LOST)
    a.label("cut")
    a.jump_if(R9, "!=", _IPV4, "other")
    _count_and_drop(a, "in", _CUT_IN)
    _count_and_drop(a, "other", _CUT_OTHER)
    return a.code()


def _outgoing(shared: int, port: Port, mac: str | None) -> bytes:
    a = _begun(shared, port)
    a.leave(_PASS)
    a.label("cut")
    a.jump_if(R9, "!=", _IPV4, "other")
    if mac is not None:
        # A bridge that does not know where a station is sends to all ports: such a copy is nobody's loss.
        a.move(R1, 0)
        a.store(DOUBLE, FRAME, -8, R1)
        a.copy(R1, R6)
        a.move(R2, 0)
        a.copy(R3, FRAME)
        a.add(R3, -8)
        a.move(R4, 6)
        a.call(SKB_LOAD_BYTES)
        a.jump_if(R0, "!=", 0, "other")
        a.load(DOUBLE, R1, FRAME, -8)
        a.constant(R2, int.from_bytes(bytes.fromhex(mac.replace(":", "")) + bytes(2), sys.byteorder))
        a.jump_if_register(R1, "!=", R2, "other")
    _count_and_drop(a, "out", _CUT_OUT)
    _count_and_drop(a, "other", _CUT_OTHER)
    return a.code()
