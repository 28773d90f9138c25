"""What a lab that is to be changed has already, found by what it is for, and numbers nothing of it has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network
from itertools import count

from topologies.record import HostRecord, Interface, NetworkRecord, Port, Record

FIRST_INDEX = 11
"""Interface numbers of the lab's namespace start here: 1 is its loopback, the rest are the kernel's own."""

FIRST_HOST_INDEX = 2


class Standing:
    """The parts of a record; of none, for a lab that is new."""

    def __init__(self, record: Record | None) -> None:
        self.hosts: dict[str, HostRecord] = record.hosts if record else {}
        self.networks: dict[str, NetworkRecord] = record.networks if record else {}
        self.subnets = {name: IPv4Network(network.subnet) for name, network in self.networks.items()}
        owners = {port: name for name, network in self.networks.items() for port in network.ports}
        ports = {port.name: port for network in self.networks.values() for port in network.port_details}
        self._ports = {
            (owners[name], port.host or owners[str(port.trunk)]): port for name, port in ports.items()
        }
        taken = [port.index for port in ports.values()]
        taken += [port.ifb_index for port in ports.values() if port.ifb_index is not None]
        taken += [index for network in self.networks.values() for index in (network.index, network.ifb_index)]
        self._indices = count(max(taken, default=FIRST_INDEX - 1) + 1)
        self._numbers = count(max((int(name[1:]) for name in ports), default=0) + 1)
        bridges = (int(network.bridge[1:]) for network in self.networks.values())
        self._bridges = count(max(bridges, default=0) + 1)

    def addresses(
        self, ends: set[tuple[str, str]], subnets: Mapping[str, IPv4Network]
    ) -> dict[tuple[str, str], IPv4Address]:
        """The addresses of those (host, network) that are still there, where the network keeps its subnet."""
        return {
            (name, interface.network): interface.address
            for name, host in self.hosts.items()
            for interface in host.interfaces
            if (name, interface.network) in ends
            and subnets[interface.network] == self.subnets[interface.network]
        }

    def port(self, network: str, end: str) -> Port | None:
        """The port of a network to a host, or to another network."""
        return self._ports.get((network, end))

    def interface(self, host: str, network: str) -> Interface | None:
        """A host's interface in a network."""
        found = self.hosts[host].interfaces if host in self.hosts else ()
        return next((interface for interface in found if interface.network == network), None)

    def next_index(self) -> int:
        """A free interface number."""
        return next(self._indices)

    def next_port(self) -> int:
        """A free number of a port."""
        return next(self._numbers)

    def next_bridge(self) -> int:
        """A free number of a bridge."""
        return next(self._bridges)

    def next_interface(self, host: str, given: Iterable[Interface]) -> int:
        """A free number of an interface of a host, to which `given` have been given."""
        had = self.hosts[host].interfaces if host in self.hosts else []
        return max((int(interface.name[3:]) for interface in (*had, *given)), default=-1) + 1

    def next_slot(self, network: str, given: Sequence[Port]) -> int:
        """A free place in a network's gate."""
        if network not in self.networks:
            return len(given)
        taken = {port.slot for port in (*self.networks[network].port_details, *given)}
        return next(slot for slot in count() if slot not in taken)
