"""Making a planned lab, step by step, in one thread that moves from namespace to namespace."""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from ipaddress import IPv4Network

from topologies.builder import messages
from topologies.builder.delays import delay
from topologies.builder.gate import settle
from topologies.builder.messages import Message
from topologies.builder.netlink import Channel
from topologies.builder.netns import NETNS_DIR, create_namespace, enter_namespace, settle_neighbours
from topologies.builder.offloads import turn_off
from topologies.builder.shaping import devices, redirect_message, redirects, shapers, shaping_message
from topologies.record import HostRecord, Interface, NetworkRecord, Record

LOOPBACK = 1
HOSTS_AT_ONCE = 100
"""Hosts whose sockets are open together; keeps a lab of 1000 hosts below the usual 1024 descriptors."""


def steps(record: Record) -> int:
    """How many steps `construct` takes."""
    return 4 + len(record.hosts) + 2 * -(-len(record.hosts) // HOSTS_AT_ONCE)


def construct(record: Record) -> Iterator[str]:
    """Make the namespaces and networks of a lab; yields what it is about to do before it does it."""
    NETNS_DIR.mkdir(parents=True, exist_ok=True)
    yield "namespace of the networks"
    create_namespace(record.namespace)
    with closing(Channel()) as lab:
        yield "networks"
        lab.send([messages.up(LOOPBACK, "lo")])
        lab.send(bridges(record.networks.values()))
        lab.send(
            trunk_cables(record, {port for network in record.networks.values() for port in network.ports})
        )
        yield from stations(record, record.hosts, lab)
        yield "offloads"
        turn_off(lab.fileno(), [port for network in record.networks.values() for port in network.ports])
        yield "shaping"
        lab.send(message for network in record.networks.values() for message in shaping(network))
        for network in record.networks.values():
            impair(lab, record, network)


def stations(
    record: Record, hosts: Mapping[str, HostRecord], lab: Channel, standing: Container[str] = ()
) -> Iterator[str]:
    """Make hosts and the interfaces that `hosts` has of them, or only these for hosts that stand already.

    Leaves the calling thread in some namespace of theirs.
    """
    every = list(hosts.items())
    for start in range(0, len(every), HOSTS_AT_ONCE):
        yield from _stations(record, dict(every[start : start + HOSTS_AT_ONCE]), lab, standing)


def _stations(
    record: Record, hosts: dict[str, HostRecord], lab: Channel, standing: Container[str]
) -> Iterator[str]:
    with ExitStack() as stack:
        channels: dict[str, Channel] = {}
        descriptors: dict[str, int] = {}
        for name, host in hosts.items():
            yield f"host {name}"
            enter_namespace(host.namespace) if name in standing else create_namespace(host.namespace)
            channels[name] = stack.enter_context(Channel())
            descriptors[name] = os.open(NETNS_DIR / host.namespace, os.O_RDONLY | os.O_CLOEXEC)
            stack.callback(os.close, descriptors[name])
        yield "interfaces"
        lab.send(_cables(record, hosts, descriptors))
        yield "addresses"
        for name, host in hosts.items():
            channels[name].send(_addresses(record, host))
            names = [interface.name for interface in host.interfaces]
            turn_off(channels[name].fileno(), names)
            enter_namespace(host.namespace)
            settle_neighbours(names)


def bridges(networks: Iterable[NetworkRecord]) -> Iterator[Message]:
    """The bridges and intermediate devices of networks."""
    for network in networks:
        yield messages.bridge(network.index, network.bridge, network.mac, network.mtu)
        for name, index in devices(network).items():
            if name not in network.ports:
                yield messages.ifb(index, name, network.mtu)


def trunk_cables(record: Record, ports: Container[str]) -> Iterator[Message]:
    """The cables of trunks with an end among `ports`."""
    ends = {
        port.name: (network, port) for network in record.networks.values() for port in network.port_details
    }
    for network, port in ends.values():
        if port.name not in ports or port.trunk is None or port.index > ends[port.trunk][1].index:
            continue  # not a trunk, or its second end
        other_network, other = ends[port.trunk]
        peer = {"index": other.index, "name": other.name, "mac": other.mac}
        yield messages.cable(port.index, port.name, port.mac, network.mtu, network.index, peer)
        yield messages.enslave(other.index, other.name, other_network.index)


def _cables(record: Record, hosts: dict[str, HostRecord], descriptors: dict[str, int]) -> Iterator[Message]:
    ports = {port.name: port for network in record.networks.values() for port in network.port_details}
    for name, host in hosts.items():
        for interface in host.interfaces:
            port = ports[interface.peer]
            peer = {
                "index": interface.index,
                "name": interface.name,
                "mac": interface.mac,
                "namespace": descriptors[name],
            }
            master = record.networks[interface.network].index
            yield messages.cable(port.index, port.name, port.mac, interface.mtu, master, peer)


def _addresses(record: Record, host: HostRecord) -> Iterator[Message]:
    yield messages.up(LOOPBACK, "lo")
    for interface in host.interfaces:
        yield messages.up(interface.index, interface.name)
        yield address_message(record, interface)


def address_message(record: Record, interface: Interface) -> Message:
    """The message that gives an interface its address."""
    broadcast = str(IPv4Network(record.networks[interface.network].subnet).broadcast_address)
    return messages.address(
        interface.index, interface.name, str(interface.address), interface.prefix, broadcast
    )


def impair(lab: Channel, record: Record, network: NetworkRecord) -> None:
    """Give a network that is shaped what its record says of delay, loss and cuts."""
    delay(lab, network)
    settle(lab, record, network, anew=True)


def shaping(network: NetworkRecord) -> Iterator[Message]:
    """The places for filters, the token buckets and the redirects of a network whose ports are there."""
    # Wherever something may be redirected or a fault planted later; an empty one costs a packet nothing.
    for port in network.port_details:
        if port.host is not None or network.medium == "shared":
            yield messages.classify(port.index, port.name)
    # The buckets before the redirects, so that nothing ever passes a device without one.
    yield from map(shaping_message, shapers(network))
    yield from map(redirect_message, redirects(network))
