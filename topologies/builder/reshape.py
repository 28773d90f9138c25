"""A network's devices, buckets and redirects changed into others while frames pass, without losing one."""

from __future__ import annotations

import contextlib
import time

from topologies.builder import messages
from topologies.builder.delays import delay
from topologies.builder.netlink import Channel, NetlinkError
from topologies.builder.shaping import (
    burst_bytes,
    devices,
    redirect_message,
    redirects,
    shapers,
    shaping_message,
    shared_device,
)
from topologies.builder.state import namespace_counters
from topologies.record import NetworkRecord

_DRAIN_SECONDS = 2.0
_OPEN_RATE_BYTES = 4_000_000_000
"""As fast as a 32-bit rate goes, 32 Gb/s: no veth of today fills it."""
_OPEN_BURST = 16 << 20


def with_rate(network: NetworkRecord, rate_mbps: float | None) -> NetworkRecord:
    """The network with another rate."""
    needs_ifb = network.medium == "shared" and rate_mbps is not None
    return network.model_copy(
        update={
            "rate_mbps": rate_mbps,
            "burst_bytes": burst_bytes(rate_mbps, network.mtu) if rate_mbps is not None else None,
            # Once made it stays, so that its counters go on.
            "ifb": network.ifb or (shared_device(network) if needs_ifb else None),
        }
    )


def reshape(channel: Channel, old: NetworkRecord, new: NetworkRecord, *, surely: bool = False) -> bool:
    """Change a network of the namespace that `channel` and the calling thread are in from `old` to `new`.

    Ports that only one of them has must be there, but may be on their way out. `surely`: it may be anything
    between the two. Returns whether a device was made. Raises `OSError`.
    """
    had = {shaper.name: shaper for shaper in shapers(old)}
    has = {shaper.name: shaper for shaper in shapers(new)}
    left = [shaper for name, shaper in had.items() if name not in has and name in devices(new)]
    made = {name: index for name, index in devices(new).items() if name not in devices(old)}
    went = {redirect.index: redirect for redirect in redirects(old)}
    goes = {redirect.index: redirect for redirect in redirects(new)}
    channel.send(messages.ifb(made[port], port, new.mtu) for port in made if port not in new.ports)
    # The buckets before the redirects, so that nothing ever passes a device without one.
    channel.send(shaping_message(shaper) for name, shaper in has.items() if had.get(name) != shaper)
    # A queue taken away loses what it holds and what arrives meanwhile. So it only becomes so fast that it
    # never holds anything; frames then need not go there at all.
    channel.send(
        messages.shaper(shaper.index, shaper.name, _OPEN_RATE_BYTES, _OPEN_BURST, shaper.limit)
        for shaper in left
    )
    moved = [port.index for port in new.port_details if went.get(port.index) != goes.get(port.index)]
    turned = [went.get(index) or goes[index] for index in moved if index in went or surely]
    if turned:
        _drained([shaper.name for shaper in left])
        for redirect in turned:
            with contextlib.suppress(NetlinkError):  # it is not there
                channel.send(
                    [messages.remove_filter(redirect.index, redirect.name, messages.REDIRECT_PRIORITY, "u32")]
                )
    channel.send(redirect_message(goes[index]) for index in moved if index in goes)
    delay(channel, new, old)
    return bool(made)


def _drained(names: list[str]) -> None:
    deadline = time.monotonic() + _DRAIN_SECONDS
    while time.monotonic() < deadline:
        now = namespace_counters()
        if not any(now.get(name, {}).get("qdisc_backlog_packets") for name in names):
            return
        time.sleep(0.001)
