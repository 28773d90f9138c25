"""Making a planned lab, step by step, in one thread that moves from namespace to namespace."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing
from ipaddress import IPv4Network

from topologies.builder import messages
from topologies.builder.messages import Message
from topologies.builder.netlink import Channel
from topologies.builder.netns import NETNS_DIR, create_namespace, enter_namespace, settle_neighbours
from topologies.builder.offloads import turn_off
from topologies.builder.shaping import Redirect, Shaper, rate_bytes, redirects, shapers
from topologies.record import HostRecord, NetworkRecord, Record

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
        lab.send(_networks(record))
        hosts = list(record.hosts.items())
        for start in range(0, len(hosts), HOSTS_AT_ONCE):
            yield from _hosts(record, dict(hosts[start : start + HOSTS_AT_ONCE]), lab)
        yield "offloads"
        turn_off(lab.fileno(), [port for network in record.networks.values() for port in network.ports])
        yield "shaping"
        lab.send(message for network in record.networks.values() for message in _shaping(network))


def _hosts(record: Record, hosts: dict[str, HostRecord], lab: Channel) -> Iterator[str]:
    with ExitStack() as stack:
        channels: dict[str, Channel] = {}
        descriptors: dict[str, int] = {}
        for name, host in hosts.items():
            yield f"host {name}"
            create_namespace(host.namespace)
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


def _networks(record: Record) -> Iterator[Message]:
    yield messages.up(LOOPBACK, "lo")
    for network in record.networks.values():
        yield messages.bridge(network.index, network.bridge, network.mac, network.mtu)
        if network.ifb is not None:
            yield messages.ifb(network.ifb_index, network.ifb, network.mtu)
        for port in network.port_details:
            if port.ifb is not None and port.ifb_index is not None:
                yield messages.ifb(port.ifb_index, port.ifb, network.mtu)
    ends = {
        port.name: (network, port) for network in record.networks.values() for port in network.port_details
    }
    for network, port in ends.values():
        if port.trunk is None or port.index > ends[port.trunk][1].index:
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
        broadcast = str(IPv4Network(record.networks[interface.network].subnet).broadcast_address)
        address = str(interface.address)
        yield messages.address(interface.index, interface.name, address, interface.prefix, broadcast)


def _shaping(network: NetworkRecord) -> Iterator[Message]:
    # Wherever something may be redirected or a fault planted later; an empty one costs a packet nothing.
    for port in network.port_details:
        if port.host is not None or network.medium == "shared":
            yield messages.classify(port.index, port.name)
    # The buckets before the redirects, so that nothing ever passes a device without one.
    yield from map(shaping_message, shapers(network))
    yield from map(redirect_message, redirects(network))


def shaping_message(shaper: Shaper) -> Message:
    """The message that makes a token bucket, or changes it without touching what it holds."""
    rate = rate_bytes(shaper.rate_mbps)
    return messages.shaper(shaper.index, shaper.name, rate, shaper.burst, shaper.limit)


def redirect_message(redirect: Redirect) -> Message:
    """The message that sends a port's incoming frames through another device."""
    return messages.redirect(redirect.index, redirect.name, redirect.target)
