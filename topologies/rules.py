"""The rules of a topology that span several of its entries, each naming the place at fault."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from topologies.wiring import (
    Place,
    attachments,
    joins_hosts,
    link_network,
    networks_of,
    segments,
    subnets,
    trunks,
)

if TYPE_CHECKING:
    from topologies.model import Topology

MAX_PORTS = 1000
"""Stations and trunks of one network; the kernel's bridge stops at 1023 ports."""

RESERVED_HOST = "net"
"""The lab's own namespace is called transship-<lab>-net."""


def violations(topology: Topology) -> list[tuple[Place, str]]:
    """Everything wrong across entries, as (place, message); empty for a topology that can be deployed."""
    found = [*_names(topology), *_stations(topology), *_links(topology)]
    # Subnets of wrong references would only repeat what was said.
    found = found or [*_loops(topology), *_attached(topology), *_ports(topology), *_subnets(topology)]
    return found or list(_addresses(topology))


def _names(topology: Topology) -> Iterator[tuple[Place, str]]:
    if RESERVED_HOST in topology.hosts:
        yield ("hosts", RESERVED_HOST), f"the name {RESERVED_HOST!r} is reserved for the lab's networks"
    for name in topology.networks:
        if name in topology.hosts:
            yield ("networks", name), f"{name!r} is already the name of a host"
    for index in range(len(topology.links)):
        if joins_hosts(topology, index) and link_network(index) in (topology.networks | topology.hosts):
            yield (
                ("links", index),
                f"its network would be called {link_network(index)!r}, a name already used",
            )


def _stations(topology: Topology) -> Iterator[tuple[Place, str]]:
    for name, network in topology.networks.items():
        for position, station in enumerate(network.stations):
            if station not in topology.hosts:
                yield ("networks", name, "stations", position), f"there is no host {station!r}"
    seen: set[tuple[str, str]] = set()
    for attachment in attachments(topology):
        if (attachment.host, attachment.network) in seen:
            message = f"host {attachment.host!r} is already a station of {attachment.network!r}"
            yield attachment.place, message
        seen.add((attachment.host, attachment.network))


def _links(topology: Topology) -> Iterator[tuple[Place, str]]:
    for index, link in enumerate(topology.links):
        if link.ends[0] == link.ends[1]:
            yield ("links", index, "ends"), f"both ends are {link.ends[0]!r}"
            continue
        for position, end in enumerate(link.ends):
            if end not in topology.hosts and end not in topology.networks:
                yield ("links", index, "ends", position), f"there is no host or network {end!r}"
        shared = [
            end for end in link.ends if end in topology.networks and topology.networks[end].medium == "shared"
        ]
        if link.rate_mbps is not None and shared and any(end in topology.hosts for end in link.ends):
            message = f"a station of the shared network {shared[0]!r} has the network's rate, not its own"
            yield ("links", index, "rate_mbps"), message
    for trunk in trunks(topology):
        first, second = (topology.networks[name].mtu for name in trunk.networks)
        if first != second:
            yield ("links", trunk.link, "ends"), f"joins networks of different mtu ({first} and {second})"


def _loops(topology: Topology) -> Iterator[tuple[Place, str]]:
    # Bridges here run no spanning tree: a loop would carry a broadcast for ever.
    reach = {name: {name} for name in topology.networks}
    for trunk in trunks(topology):
        first, second = (reach[name] for name in trunk.networks)
        if first is second:
            yield ("links", trunk.link), "closes a loop of networks, which has no spanning tree to break it"
            continue
        first |= second
        for name in second:
            reach[name] = first


def _attached(topology: Topology) -> Iterator[tuple[Place, str]]:
    if not topology.networks and not topology.links:
        return  # workstations on their own: nothing was meant to join them
    attached = {attachment.host for attachment in attachments(topology)}
    for name in topology.hosts:
        if name not in attached:
            yield ("hosts", name), "is in no network"


def _ports(topology: Topology) -> Iterator[tuple[Place, str]]:
    ports = Counter(attachment.network for attachment in attachments(topology))
    ports.update(name for trunk in trunks(topology) for name in trunk.networks)
    for name, count in ports.items():
        if count > MAX_PORTS:
            yield ("networks", name), f"has {count} stations and trunks; a network takes at most {MAX_PORTS}"


def _subnets(topology: Topology) -> Iterator[tuple[Place, str]]:
    networks = networks_of(topology)
    stations = Counter(attachment.network for attachment in attachments(topology))
    seen: list[tuple[str, IPv4Network]] = []
    for group in segments(topology):
        given = [(name, subnet) for name in group if (subnet := networks[name].subnet) is not None]
        if not given:
            continue
        first, subnet = given[0]
        place: Place = ("networks", first, "subnet")
        for name, other in given[1:]:
            if other != subnet:
                message = f"{other} differs from the {subnet} of {first!r}, to which trunks join it"
                yield ("networks", name, "subnet"), message
        if not _usable(subnet):
            yield place, f"{subnet} is not a range that hosts can use"
        room = max(subnet.num_addresses - 2, 0)
        needed = sum(stations[name] for name in group)
        if needed > room:
            yield place, f"{subnet} has room for {room} stations, not for {needed}"
        for name, other in seen:
            if subnet.overlaps(other):
                yield place, f"{subnet} overlaps {other} of {name!r}"
        seen.append((first, subnet))


def _addresses(topology: Topology) -> Iterator[tuple[Place, str]]:
    members = {(attachment.host, attachment.network) for attachment in attachments(topology)}
    ranges = subnets(topology)
    seen: dict[tuple[IPv4Network, IPv4Address], str] = {}
    for name, network in topology.networks.items():
        subnet = ranges[name]
        for host, address in network.addresses.items():
            place: Place = ("networks", name, "addresses", host)
            if (host, name) not in members:
                yield place, f"{host!r} is not a station of {name!r}"
            elif address not in subnet or address in (subnet.network_address, subnet.broadcast_address):
                yield place, f"{address} is not an address of a station in {subnet}"
            elif (subnet, address) in seen:
                yield place, f"{address} is the address of {seen[subnet, address]!r} already"
            seen[subnet, address] = host


def _usable(subnet: IPv4Network) -> bool:
    first = subnet.network_address
    return not (
        subnet.prefixlen < 8
        or first.is_loopback
        or first.is_multicast
        or first.is_reserved
        or first.is_link_local
        or first.packed[0] == 0
    )
