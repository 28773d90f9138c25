"""From the workloads of a document to the way through a topology: which hosts, over which networks."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from orchestrator.experiments.own.document import Document, Forwarder, Sink, Source
from orchestrator.experiments.own.faults import DocumentError, Fault
from orchestrator.experiments.way import Crossing
from topologies import Network, Topology
from topologies.wiring import attachments, networks_of, trunks

HEADERS = 28
"""Bytes of IPv4 and UDP header in each packet."""


@dataclass(frozen=True)
class Route:
    """The names of the workloads in the order of the data, and where each leg crosses the topology."""

    workloads: tuple[str, ...]
    crossings: tuple[Crossing, ...]

    def largest(self, networks: Mapping[str, Network]) -> int:
        """Bytes of payload that fit into one packet of every network on the way."""
        return min(networks[name].mtu for leg in self.crossings for name in leg.networks) - HEADERS


def route(document: Document, topology: Topology) -> Route:
    """The way of the datagrams. Raises DocumentError naming what is not as it must be."""
    faults = [*_hosts(document, topology), *_numbers(document)]
    if faults:
        raise DocumentError(faults)
    order = _follow(document)
    crossings = []
    for name, following in pairwise(order):
        sender, receiver = document.workloads[name], document.workloads[following]
        assert isinstance(sender, Source | Forwarder)
        try:
            crossings.append(_crossing(topology, sender.host, receiver.host, sender.via))
        except ValueError as error:
            place = "to" if sender.via is None else "via"
            raise DocumentError([(f"workloads.{name}.{place}", str(error))]) from None
    return Route(tuple(order), tuple(crossings))


def _hosts(document: Document, topology: Topology) -> Iterator[Fault]:
    known = ", ".join(topology.hosts)
    used: dict[str, str] = {}
    for name, workload in document.workloads.items():
        place = f"workloads.{name}.host"
        if workload.host not in topology.hosts:
            yield place, f"there is no host {workload.host!r} in topology {topology.name}; it has {known}"
        elif workload.host in used:
            yield place, f"{workload.host!r} has the workload {used[workload.host]!r} already; a host has one"
        used[workload.host] = name
    for host in document.hosts:
        if host not in topology.hosts:
            yield f"hosts.{host}", f"there is no such host in topology {topology.name}; it has {known}"
    networks = networks_of(topology)
    for network in document.networks:
        if network not in networks:
            yield (
                f"networks.{network}",
                f"there is no such network in topology {topology.name}; it has {', '.join(networks)}",
            )


def _numbers(document: Document) -> Iterator[Fault]:
    for kind, model in (("source", Source), ("sink", Sink)):
        count = sum(isinstance(one, model) for one in document.workloads.values())
        if count != 1:
            yield "workloads", f"must have one {kind}, not {count}"


def _follow(document: Document) -> list[str]:
    """The workloads from the source to the sink. Raises DocumentError."""
    workloads = document.workloads
    order = [name for name, one in workloads.items() if isinstance(one, Source)]
    while not isinstance(workloads[order[-1]], Sink):
        now = workloads[order[-1]]
        assert isinstance(now, Source | Forwarder)
        place = f"workloads.{order[-1]}.to"
        if now.to not in workloads:
            raise DocumentError(
                [(place, f"there is no workload {now.to!r}; there are {', '.join(workloads)}")]
            )
        if now.to in order:
            raise DocumentError([(place, f"{now.to!r} is on the way already; datagrams must end at a sink")])
        order.append(now.to)
    left = [name for name in workloads if name not in order]
    if left:
        raise DocumentError(
            [(f"workloads.{left[0]}", "no datagram comes to it: nothing leads here with `to`")]
        )
    return order


def _crossing(topology: Topology, sender: str, receiver: str, via: str | None) -> Crossing:
    """Where a datagram goes from host to host. Raises ValueError."""
    wired = attachments(topology)
    leaving = [one.network for one in wired if one.host == sender]
    entering = [one.network for one in wired if one.host == receiver]
    if via is not None and via not in leaving:
        raise ValueError(f"{sender!r} is not on a network {via!r}; it is on {', '.join(leaving) or 'none'}")
    found = [
        Crossing(out, into, path)
        for out in leaving
        for into in entering
        if (via is None or out == via) and (path := _path(topology, out, into))
    ]
    if not found:
        what = "" if via is None else f" over {via!r}"
        raise ValueError(f"{sender!r} and {receiver!r} share no network{what}")
    if len({one.leaves for one in found}) > 1:
        raise ValueError(
            f"{sender!r} and {receiver!r} share several networks ({', '.join(one.leaves for one in found)}); "
            "say with `via` which"
        )
    return min(found, key=lambda one: len(one.networks))


def _path(topology: Topology, first: str, last: str) -> tuple[str, ...]:
    """The networks from one to another over trunks; empty if none lead there. There are no loops."""
    ways: deque[tuple[str, ...]] = deque([(first,)])
    while ways:
        way = ways.popleft()
        if way[-1] == last:
            return way
        for trunk in trunks(topology):
            if way[-1] in trunk.networks:
                (other,) = (one for one in trunk.networks if one != way[-1])
                if other not in way:
                    ways.append((*way, other))
    return ()
