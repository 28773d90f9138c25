"""What a description means once its short forms are written out: who is attached where, in which subnet.

Pure functions over `Topology`; they are total (wrong references are skipped) because the rules use them to
find what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from topologies.model import Network, Topology

Place: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True)
class Attachment:
    """A host's interface in a network; `rate_mbps`: its link's own; `place`: where the file says so."""

    host: str
    network: str
    rate_mbps: float | None
    place: Place


@dataclass(frozen=True)
class Trunk:
    """A link between two networks, by its index in `links`."""

    link: int
    networks: tuple[str, str]
    rate_mbps: float | None


def joins_hosts(topology: Topology, index: int) -> bool:
    """Whether link `index` joins two hosts, and so stands for a network of its own."""
    first, second = topology.links[index].ends
    return first != second and first in topology.hosts and second in topology.hosts


def link_network(index: int) -> str:
    """The name of the network that a host-to-host link stands for."""
    return f"link-{index + 1}"


def networks_of(topology: Topology) -> dict[str, Network]:
    """The networks written down plus one of two stations for every link between two hosts."""
    from topologies.model import Network  # the model's rules import this module

    networks = dict(topology.networks)
    for index, link in enumerate(topology.links):
        if joins_hosts(topology, index):
            networks[link_network(index)] = Network(
                medium="switched", rate_mbps=link.rate_mbps, stations=list(link.ends)
            )
    return networks


def attachments(topology: Topology) -> list[Attachment]:
    """Every host interface, in the order of the file: stations of networks, then links."""
    found = [
        Attachment(station, name, None, ("networks", name, "stations", position))
        for name, network in topology.networks.items()
        for position, station in enumerate(network.stations)
    ]
    for index, link in enumerate(topology.links):
        if joins_hosts(topology, index):
            found += [
                Attachment(end, link_network(index), None, ("links", index, "ends", position))
                for position, end in enumerate(link.ends)
            ]
            continue
        for position, end in enumerate(link.ends):
            other = link.ends[1 - position]
            if end in topology.hosts and other in topology.networks:
                found.append(Attachment(end, other, link.rate_mbps, ("links", index, "ends", position)))
    return found


def trunks(topology: Topology) -> list[Trunk]:
    """Every link between two different networks."""
    return [
        Trunk(index, (link.ends[0], link.ends[1]), link.rate_mbps)
        for index, link in enumerate(topology.links)
        if all(end in topology.networks for end in link.ends) and link.ends[0] != link.ends[1]
    ]


def segments(topology: Topology) -> list[list[str]]:
    """Networks joined by trunks share frames, hence one subnet: the groups, in the order of the file."""
    networks = networks_of(topology)
    group = {name: name for name in networks}

    def find(name: str) -> str:
        while group[name] != name:
            group[name] = group[group[name]]
            name = group[name]
        return name

    for trunk in trunks(topology):
        group[find(trunk.networks[1])] = find(trunk.networks[0])
    members: dict[str, list[str]] = {}
    for name in networks:
        members.setdefault(find(name), []).append(name)
    return list(members.values())


def subnets(topology: Topology, kept: Mapping[str, IPv4Network] | None = None) -> dict[str, IPv4Network]:
    """The subnet of every network: as written, or the first free 10.N.0.0/24 (wider for more stations).

    `kept`: those that networks without one written down have already, and keep where they have room for all.
    """
    networks = networks_of(topology)
    groups = segments(topology)
    stations = dict.fromkeys(networks, 0)
    for attachment in attachments(topology):
        stations[attachment.network] += 1
    given = [
        next((networks[name].subnet for name in group if networks[name].subnet), None) for group in groups
    ]
    taken = [subnet for subnet in given if subnet is not None]
    for place, group in enumerate(groups):
        if kept is None or given[place] is not None:
            continue
        crowd = sum(stations[name] for name in group)
        written = [address for name in group for address in networks[name].addresses.values()]
        for had in (kept[name] for name in group if name in kept):
            if any(address not in had for address in written):
                continue  # they were written for the subnet that the topology has on its own
            if had.num_addresses - 2 >= crowd and not any(had.overlaps(other) for other in taken):
                given[place] = had
                taken.append(had)
                break
    candidates = {24: _candidates(24), 16: _candidates(16)}
    result: dict[str, IPv4Network] = {}
    for group, subnet in zip(groups, given, strict=True):
        if subnet is None:
            size = 24 if sum(stations[name] for name in group) <= 254 else 16
            subnet = next(free for free in candidates[size] if not any(free.overlaps(old) for old in taken))
            taken.append(subnet)
        result.update(dict.fromkeys(group, subnet))
    return result


def addresses(
    topology: Topology,
    ranges: Mapping[str, IPv4Network] | None = None,
    kept: Mapping[tuple[str, str], IPv4Address] | None = None,
) -> dict[tuple[str, str], IPv4Address]:
    """The address of every host in every network: as written, or the first free one of the subnet.

    `ranges` are the networks' subnets; `kept` those that stations have in these already.
    """
    ranges = subnets(topology) if ranges is None else ranges
    networks = networks_of(topology)
    wired = [(attachment.host, attachment.network) for attachment in attachments(topology)]
    given = {
        (host, network): networks[network].addresses[host]
        for host, network in wired
        if host in networks[network].addresses
    }
    taken: dict[IPv4Network, set[IPv4Address]] = {}
    for (_, network), address in given.items():
        taken.setdefault(ranges[network], set()).add(address)
    for end, address in kept.items() if kept else ():
        held = taken.setdefault(ranges[end[1]], set())
        if end not in given and address not in held:
            given[end] = address
            held.add(address)
    # One stream of free addresses for each subnet: stations joined by trunks draw from the same.
    streams = {subnet: iter(subnet.hosts()) for subnet in set(ranges.values())}
    found: dict[tuple[str, str], IPv4Address] = {}
    for host, network in wired:
        subnet = ranges[network]
        found[host, network] = given.get((host, network)) or next(
            free for free in streams[subnet] if free not in taken.get(subnet, ())
        )
    return found


def _candidates(size: int) -> Iterator[IPv4Network]:
    for third in range(256 if size == 24 else 1):
        for second in range(1, 256):
            yield IPv4Network(f"10.{second}.{third}.0/{size}")
