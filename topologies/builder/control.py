"""A lab that stands: its counters, and its networks' rates changed without losing a packet."""

from __future__ import annotations

import time
from contextlib import closing

from topologies.builder import messages
from topologies.builder.construct import redirect_message, shaping_message
from topologies.builder.errors import LabError, NoSuchLab
from topologies.builder.lock import locked
from topologies.builder.netlink import Channel
from topologies.builder.netns import enter_namespace, in_thread
from topologies.builder.shaping import (
    Shaper,
    burst_bytes,
    intermediates,
    redirects,
    shapers,
    shared_device,
)
from topologies.builder.state import backlog_dropped, namespace_counters
from topologies.builder.steering import steer
from topologies.model import MAX_RATE_MBPS, MIN_RATE_MBPS
from topologies.record import NetworkRecord, Record, read_record

_WAIT_SECONDS = 30.0
_DRAIN_SECONDS = 2.0
_OPEN_RATE_BYTES = 4_000_000_000
"""As fast as a 32-bit rate goes, 32 Gb/s: no veth of today fills it."""
_OPEN_BURST = 16 << 20


def set_network(record: Record, network: str, rate_mbps: float | None) -> Record:
    """Change the rate of a network, or lift it with None; no packet under way is lost.

    Links with a rate of their own keep it. One exception: a switched network that was deployed without a rate
    has no queues, and may lose frames in the moment it first gets them. Returns the record as it is then.

    Raises:
        NoSuchLab: the lab is gone, or has no such network.
        LabError: a rate outside 1 to 10000 Mb/s, or the kernel refused.
        LabBusy: the lab is being destroyed.
    """
    if rate_mbps is not None and not MIN_RATE_MBPS <= rate_mbps <= MAX_RATE_MBPS:
        raise LabError(f"rate_mbps must be {MIN_RATE_MBPS:g} to {MAX_RATE_MBPS:g}, not {rate_mbps}")
    run_root = record.run_dir.parent
    with locked(record.lab, run_root, create=False, wait_seconds=_WAIT_SECONDS) as run_dir:
        current = read_record(record.lab, run_root) if run_dir is not None else None
        if current is None or current.state != "deployed":
            raise NoSuchLab(f"there is no lab {record.lab!r}")
        if network not in current.networks:
            raise NoSuchLab(f"lab {record.lab!r} has no network {network!r}")
        old = current.networks[network]
        if old.rate_mbps == rate_mbps:
            return current
        new = _with_rate(old, rate_mbps)
        # Written first: until the kernel agrees, the record names more than there is, never less.
        current.networks[network] = new
        current.save()
        try:
            in_thread(lambda: _change(current, old, new))
        except OSError as error:
            current.networks[network] = old
            current.save()
            raise LabError(f"network {network!r} keeps its rate: {error.strerror}") from error
        return current


def counters(record: Record) -> dict[str, int]:
    """Every counter of a lab's networks and interfaces, cumulative since the lab was made.

    `<host>.<interface>.<field>` and `<network>.<port or shaper>.<field>` with the fields of
    `state.namespace_counters`; `cpu<N>.backlog_dropped` counts for the whole machine since it started.

    Raises:
        NoSuchLab: the lab's namespaces are gone.
    """
    try:
        return in_thread(lambda: _counters(record))
    except FileNotFoundError as error:
        raise NoSuchLab(f"there is no lab {record.lab!r}: {error.filename} is gone") from error


def _counters(record: Record) -> dict[str, int]:
    found = backlog_dropped()
    for name, host in record.hosts.items():
        enter_namespace(host.namespace)
        devices = namespace_counters()
        for interface in host.interfaces:
            found.update(_named(name, interface.name, devices))
    enter_namespace(record.namespace)
    devices = namespace_counters()
    for name, network in record.networks.items():
        for device in (*network.ports, *intermediates(network)):
            found.update(_named(name, device, devices))
    return found


def _named(owner: str, device: str, devices: dict[str, dict[str, int]]) -> dict[str, int]:
    return {f"{owner}.{device}.{field}": value for field, value in devices.get(device, {}).items()}


def _with_rate(network: NetworkRecord, rate_mbps: float | None) -> NetworkRecord:
    needs_ifb = network.medium == "shared" and rate_mbps is not None
    return network.model_copy(
        update={
            "rate_mbps": rate_mbps,
            "burst_bytes": burst_bytes(rate_mbps, network.mtu) if rate_mbps is not None else None,
            # Once made it stays, so that its counters go on.
            "ifb": network.ifb or (shared_device(network) if needs_ifb else None),
        }
    )


def _change(record: Record, old: NetworkRecord, new: NetworkRecord) -> None:
    enter_namespace(record.namespace)
    with closing(Channel()) as channel:
        if new.rate_mbps is None:
            _lift(channel, old)
            return
        if new.ifb is not None and old.ifb is None:
            channel.send([messages.ifb(new.ifb_index, new.ifb, new.mtu)])
        channel.send(map(shaping_message, _own(new)))
        if new.medium == "shared" and old.rate_mbps is None:
            channel.send(map(redirect_message, redirects(new)))
    if new.ifb is not None and old.ifb is None:
        steer(record)


def _own(network: NetworkRecord) -> list[Shaper]:
    """The token buckets that follow the network's rate rather than a link's."""
    links = {port.name for port in network.port_details if port.rate_mbps is not None}
    links |= {port.ifb for port in network.port_details if port.ifb is not None}
    return [shaper for shaper in shapers(network) if shaper.name not in links]


def _lift(channel: Channel, network: NetworkRecord) -> None:
    # A queue taken away loses what it holds and what arrives meanwhile. So it only becomes so fast that it
    # never holds anything; a shared network's frames then need not go there at all.
    own = _own(network)
    channel.send(
        messages.shaper(shaper.index, shaper.name, _OPEN_RATE_BYTES, _OPEN_BURST, shaper.limit)
        for shaper in own
    )
    if network.medium == "shared":
        _drained([shaper.name for shaper in own])
        channel.send(
            messages.remove_filter(redirect.index, redirect.name, messages.REDIRECT_PRIORITY, "u32")
            for redirect in redirects(network)
        )


def _drained(names: list[str]) -> None:
    deadline = time.monotonic() + _DRAIN_SECONDS
    while time.monotonic() < deadline:
        now = namespace_counters()
        if not any(now[name]["qdisc_backlog_packets"] for name in names):
            return
        time.sleep(0.001)
