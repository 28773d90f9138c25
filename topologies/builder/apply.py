"""A lab that stands made what another topology says: only the difference is touched.

First everything that is new is made, then what stays is changed in place, last what is not wanted goes. Up to
there a failure is undone. The record names all that there is at every moment.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections import deque
from collections.abc import Callable, Container, Iterator
from contextlib import closing

from topologies.builder import gate, messages
from topologies.builder.construct import (
    address_message,
    bridges,
    impair,
    shaping,
    stations,
    trunk_cables,
)
from topologies.builder.control import standing
from topologies.builder.deploy import refuse_namespaces
from topologies.builder.difference import Change, difference
from topologies.builder.errors import LabError, PartlyChanged
from topologies.builder.lock import claims
from topologies.builder.messages import Message
from topologies.builder.netlink import Channel, NetlinkError
from topologies.builder.netns import delete_namespace, enter_namespace, in_thread
from topologies.builder.offloads import turn_off
from topologies.builder.plan import plan
from topologies.builder.reshape import reshape
from topologies.builder.shaping import devices
from topologies.builder.steering import steer
from topologies.cgroups import CgroupError, HostCgroup, find_layout
from topologies.model import Topology
from topologies.record import HostRecord, NetworkRecord, Record, Steering

Leaving = Callable[[list[str]], None]
"""Told the hosts that are about to go, once nothing can be undone any more."""
Step = Callable[[str], None]
Masks = dict[str, list[int]]
_REFUSALS = (OSError, CgroupError, LabError)


def planned(record: Record, topology: Topology) -> Record:
    """What the lab of `record` would be with `topology`."""
    return plan(record.lab, topology, record.run_dir, sorted(os.sched_getaffinity(0)), record)


def apply(
    record: Record, topology: Topology, leaving: Leaving | None = None, step: Step | None = None
) -> tuple[Record, list[Change]]:
    """Make the lab what `topology` says: its record then, and what has changed.

    Hosts that stay keep their processes, what is cut stays cut, who is stopped stays stopped. `step` is
    called before each step with what it is, and may raise to stop; nothing has changed then.

    Raises:
        NoSuchLab: the lab is gone.
        LabExists: a name is taken by something that is not the lab's.
        LabBusy: somebody else is changing or destroying it.
        Unsupported: this kernel cannot do what is asked for. The lab is as it was.
        LabError: a step failed. The lab is as it was.
        PartlyChanged: a step failed, and could not be undone.
    """
    with standing(record) as have:
        want = planned(have, topology)
        changes = difference(have, want)
        if changes:
            _transform(have, want, leaving or (lambda hosts: None), step or (lambda name: None))
        else:
            want.steering = have.steering
        want.state = "deployed"
        want.save()
        return want, changes


def _transform(have: Record, want: Record, leaving: Leaving, step: Step) -> None:
    both = _union(have, want)
    names = [host.namespace for name, host in want.hosts.items() if name not in have.hosts]
    with claims(have.run_dir.parent):
        refuse_namespaces(names, have.lab, have.run_dir.parent)
        both.save()
    try:
        in_thread(lambda: deque(map(step, _build(have, want)), maxlen=0))
    except BaseException as error:
        _undo(have, want, both, error)
        if isinstance(error, OSError | CgroupError):
            raise LabError(f"lab {have.lab!r} stays as it was: {error}") from error
        raise
    # Gates that have been made are in the record from here on.
    both = _union(have, want)
    both.save()
    try:
        leaving([name for name in have.hosts if name not in want.hosts])
        in_thread(lambda: _remove(both, want))
        want.steering = in_thread(lambda: _steer(have, want))
    except _REFUSALS as error:
        raise PartlyChanged(f"lab {have.lab!r} is changed only in part, destroy it: {error}") from error


def _union(have: Record, want: Record) -> Record:
    """A record, on its way, that names all that either has."""

    def hosts() -> Iterator[tuple[str, HostRecord]]:
        for name, host in {**have.hosts, **want.hosts}.items():
            had = have.hosts[name].interfaces if name in have.hosts else []
            names = {interface.name for interface in host.interfaces}
            old = [interface for interface in had if interface.name not in names]
            yield name, host.model_copy(update={"interfaces": [*host.interfaces, *old]})

    def networks() -> Iterator[tuple[str, NetworkRecord]]:
        for name, network in {**have.networks, **want.networks}.items():
            had = have.networks[name].port_details if name in have.networks else []
            old = [port for port in had if port.name not in network.ports]
            ports = [*network.ports, *(port.name for port in old)]
            yield (
                name,
                network.model_copy(update={"ports": ports, "port_details": [*network.port_details, *old]}),
            )

    return want.model_copy(update={"hosts": dict(hosts()), "networks": dict(networks()), "state": "changing"})


def _build(have: Record, want: Record) -> Iterator[str]:
    """Make what is new and change what stays; yields what it is about to do before it does it."""
    old = {port for network in have.networks.values() for port in network.ports}
    new = [port for network in want.networks.values() for port in network.ports if port not in old]
    yield "control groups"
    layout = find_layout()
    for name, host in want.hosts.items():
        if name not in have.hosts:
            HostCgroup(host.cgroup, layout).create(host.cpus)
    yield "new networks"
    enter_namespace(want.namespace)
    with closing(Channel()) as lab:
        lab.send(bridges(network for name, network in want.networks.items() if name not in have.networks))
        lab.send(trunk_cables(want, new))
        yield from stations(want, _with_new_interfaces(have, want), lab, standing=have.hosts)
        yield "offloads"
        turn_off(lab.fileno(), new)
        enter_namespace(want.namespace)
        for name, network in want.networks.items():
            yield f"network {name}"
            _network(lab, want, have.networks.get(name), network)
    yield "hosts"
    for name, host in want.hosts.items():
        if name in have.hosts:
            _host(want, have.hosts[name], host)


def _with_new_interfaces(have: Record, want: Record) -> dict[str, HostRecord]:
    found: dict[str, HostRecord] = {}
    for name, host in want.hosts.items():
        had = {interface.name for interface in have.hosts[name].interfaces} if name in have.hosts else set()
        new = [interface for interface in host.interfaces if interface.name not in had]
        if new or name not in have.hosts:
            found[name] = host.model_copy(update={"interfaces": new})
    return found


def _network(lab: Channel, record: Record, old: NetworkRecord | None, new: NetworkRecord) -> None:
    """Shape a network that has its ports: `old` is what it was, None for a new one."""
    if old is None:
        lab.send(shaping(new))
        impair(lab, record, new)
        return
    for port in new.port_details:
        if port.host is not None or new.medium == "shared":
            gate.classify(lab, port)
    _size(lab, old, new)
    reshape(lab, old, new)
    gate.extend(lab, record, new, [port for port in new.port_details if port.name not in old.ports])
    gate.settle(lab, record, new, anew=old.impairments != new.impairments)


def _size(lab: Channel, old: NetworkRecord, new: NetworkRecord) -> None:
    if old.mtu != new.mtu:
        lab.send(
            messages.mtu(index, name, new.mtu) for name, index in devices(new).items() if name in devices(old)
        )
        lab.send([messages.mtu(new.index, new.bridge, new.mtu)])


def _host(record: Record, old: HostRecord, new: HostRecord) -> None:
    """Change a host that stays: its CPUs, and what its interfaces are like."""
    if old.cpus != new.cpus:
        HostCgroup(new.cgroup).set_cpus(new.cpus or sorted(os.sched_getaffinity(0)))
    had = {interface.name: interface for interface in old.interfaces}
    found = [(had[interface.name], interface) for interface in new.interfaces if interface.name in had]
    changed = [(before, after) for before, after in found if before != after]
    if not changed:
        return
    enter_namespace(new.namespace)
    with closing(Channel()) as channel:
        for before, after in changed:
            channel.send([messages.mtu(after.index, after.name, after.mtu)])
            if (before.address, before.prefix) != (after.address, after.prefix):
                address = str(before.address)
                taken = messages.remove_address(after.index, after.name, address, before.prefix)
                # Either may be so already, when this undoes what half happened.
                _unless(errno.EADDRNOTAVAIL, channel, taken)
                _unless(errno.EEXIST, channel, address_message(record, after))


def _unless(passed: int, channel: Channel, message: Message) -> None:
    try:
        channel.send([message])
    except NetlinkError as error:
        if error.errno != passed:
            raise


def _remove(both: Record, want: Record) -> None:
    """Remove whatever `both` names and `want` does not."""
    layout = find_layout()
    gone = {name: host for name, host in both.hosts.items() if name not in want.hosts}
    for host in gone.values():
        HostCgroup(host.cgroup, layout).destroy()
    stays = {name: index for network in want.networks.values() for name, index in devices(network).items()}
    stays |= {network.bridge: network.index for network in want.networks.values()}
    enter_namespace(both.namespace)
    with closing(Channel()) as lab:
        for network in both.networks.values():
            for name, index in {**devices(network), network.bridge: network.index}.items():
                if name not in stays:
                    with contextlib.suppress(NetlinkError):  # gone with its other end, or never made
                        lab.send([messages.delete(index, name)])
    for host in gone.values():
        delete_namespace(host.namespace)


def _steer(have: Record, want: Record) -> Steering:
    """Put receive work where the record says; where it no longer says, nowhere in particular."""

    def lifted(before: dict[str, list[int]], after: dict[str, list[int]], there: Container[str]) -> Masks:
        return {name: [] for name in before if name not in after and name in there}

    free = want.steering.model_copy(
        update={
            "host": lifted(have.steering.host, want.steering.host, want.hosts),
            "network": lifted(have.steering.network, want.steering.network, want.networks),
        }
    )
    steer(want.model_copy(update={"steering": free}))
    return steer(want)


def _undo(have: Record, want: Record, both: Record, error: BaseException) -> None:
    """Make the lab again what it was, from anywhere on the way."""

    def work() -> None:
        enter_namespace(have.namespace)
        with closing(Channel()) as lab:
            for name, old in have.networks.items():
                if name in want.networks:
                    old.gate = want.networks[name].gate
                    _size(lab, want.networks[name], old)
                    reshape(lab, both.networks[name], old, surely=True)
                    gate.settle(lab, have, old, anew=old.impairments != want.networks[name].impairments)
        for name, host in have.hosts.items():
            if name in want.hosts:
                _host(have, want.hosts[name], host)
        _remove(both, have)

    try:
        in_thread(work)
        have.steering = in_thread(lambda: _steer(want, have))
    except _REFUSALS as failure:
        why = f"{error}; and undoing that failed: {failure}"
        raise PartlyChanged(f"lab {have.lab!r} is changed only in part, destroy it: {why}") from error
    have.state = "deployed"
    have.save()
