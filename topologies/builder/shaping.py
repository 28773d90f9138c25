"""Sizes of a network's token bucket, and which interfaces carry one.

The rate counts whole Ethernet frames as the kernel's shaper does: payload + 42 bytes of UDP, IPv4 and
Ethernet header. 93 Mb/s of 4300-byte datagrams is 93.9 Mb/s of frames and passes a 100 Mb/s ring untouched.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from topologies.builder import messages
from topologies.builder.messages import Message
from topologies.record import NetworkRecord

FRAME_OVERHEAD = 18  # Ethernet header and one VLAN tag
_BURST_SECONDS = 0.002
_FAST_MBPS, _FAST_BURST_SECONDS = 1000.0, 0.01
_SENDER_BYTES = 33 << 20
_MAX_LIMIT = 2 << 30


def rate_bytes(rate_mbps: float) -> int:
    """Megabits per second as bytes per second."""
    return round(rate_mbps * 1_000_000 / 8)


def burst_bytes(rate_mbps: float, mtu: int) -> int:
    """The depth of the bucket in bytes.

    What the rate delivers in 2 ms: the shaper's timer is an hrtimer, so this need not follow the kernel's HZ,
    but the CPU may come to it late by a millisecond. Never less than two frames, or a frame would not fit.

    Above 1 Gb/s it is 10 ms: there a sender that had to wait for its turn on the CPU catches up in a burst,
    and an empty bucket sets a timer for every frame, which on a virtual machine can cost more than the frame
    (43 % of the CPU of a network at 3 Gb/s, measured).
    """
    seconds = _BURST_SECONDS if rate_mbps <= _FAST_MBPS else _FAST_BURST_SECONDS
    return max(int(rate_bytes(rate_mbps) * seconds), 2 * (mtu + FRAME_OVERHEAD))


def limit_bytes(stations: int) -> int:
    """What the shaper's queue holds, in bytes.

    A socket with a send buffer of 16 MiB (32 MiB inside the kernel, which doubles it) can have that much
    under way before it blocks. The queue takes 33 MiB from every station, so senders are held back by their
    own buffer, as a station waits for the ring, and nothing is dropped.
    """
    return min(max(stations, 1) * _SENDER_BYTES, _MAX_LIMIT)


@dataclass(frozen=True)
class Shaper:
    """One token bucket: the interface that has it, its rate, and where that rate is written."""

    index: int
    name: str
    rate_mbps: float
    burst: int
    limit: int


@dataclass(frozen=True)
class Redirect:
    """A port whose incoming frames go through another interface's bucket first."""

    index: int
    name: str
    target: int


def shared_device(network: NetworkRecord) -> str:
    """The name of the device that a shared network's frames all pass when it has a rate."""
    return f"i{network.bridge[1:]}"


def intermediates(network: NetworkRecord) -> list[str]:
    """The devices, besides its ports, that a network's frames pass."""
    return [name for name in (network.ifb, *(port.ifb for port in network.port_details)) if name is not None]


def devices(network: NetworkRecord) -> dict[str, int]:
    """A network's ports and intermediate devices, with their interface numbers."""
    found = {port.name: port.index for port in network.port_details}
    found |= {port.ifb: port.ifb_index for port in network.port_details if port.ifb and port.ifb_index}
    return found | ({network.ifb: network.ifb_index} if network.ifb else {})


def shapers(network: NetworkRecord) -> Iterator[Shaper]:
    """Every token bucket of a network."""

    def shaper(index: int, name: str, rate_mbps: float) -> Shaper:
        burst = burst_bytes(rate_mbps, network.mtu)
        return Shaper(index, name, rate_mbps, burst, network.limit_bytes)

    if network.medium == "shared" and network.ifb is not None and network.rate_mbps is not None:
        yield shaper(network.ifb_index, network.ifb, network.rate_mbps)
    for port in network.port_details:
        own = port.rate_mbps
        rate = own if own is not None or network.medium == "shared" else network.rate_mbps
        if rate is not None:
            yield shaper(port.index, port.name, rate)
        if own is not None and port.ifb is not None and port.ifb_index is not None:
            yield shaper(port.ifb_index, port.ifb, own)


def redirects(network: NetworkRecord) -> Iterator[Redirect]:
    """Every port whose incoming frames are redirected, and to which interface number."""
    for port in network.port_details:
        if network.medium == "shared" and network.ifb is not None and network.rate_mbps is not None:
            yield Redirect(port.index, port.name, network.ifb_index)
        elif port.rate_mbps is not None and port.ifb_index is not None:
            yield Redirect(port.index, port.name, port.ifb_index)


def shaping_message(shaper: Shaper) -> Message:
    """The message that makes a token bucket, or changes it without touching what it holds."""
    rate = rate_bytes(shaper.rate_mbps)
    return messages.shaper(shaper.index, shaper.name, rate, shaper.burst, shaper.limit)


def redirect_message(redirect: Redirect) -> Message:
    """The message that sends a port's incoming frames through another device."""
    return messages.redirect(redirect.index, redirect.name, redirect.target)
