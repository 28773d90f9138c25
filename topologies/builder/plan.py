"""From a topology to the record of a lab: every name, number, address and size, before anything exists."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from topologies.builder.shaping import burst_bytes, limit_bytes
from topologies.model import Topology
from topologies.record import HostRecord, Interface, NetworkRecord, Port, Record, Steering
from topologies.wiring import addresses, attachments, networks_of, segments, subnets, trunks

_FIRST_INDEX = 10
"""Interface numbers of the lab's namespace start here: 1 is its loopback, the rest are the kernel's own."""

_FIRST_HOST_INDEX = 2


def plan(lab: str, topology: Topology, run_dir: Path, cpus: Sequence[int]) -> Record:
    """The record of `lab`, pure and deterministic.

    Args:
        cpus: the CPUs this machine offers; a topology's ids count modulo their number.
    """
    planner = _Planner(topology, cpus)
    hosts = {
        name: HostRecord(
            namespace=f"transship-{lab}-{name}",
            cgroup=f"transship/{lab}/{name}",
            cpus=planner.machine_cpus(host.cpus),
            interfaces=planner.interfaces[name],
        )
        for name, host in topology.hosts.items()
    }
    return Record(
        lab=lab,
        state="deploying",
        run_dir=run_dir,
        topology=topology,
        namespace=f"transship-{lab}-net",
        cgroup=f"transship/{lab}",
        hosts=hosts,
        networks=planner.networks,
        steering=_steering(planner, hosts, len(cpus)),
    )


def _steering(planner: _Planner, hosts: dict[str, HostRecord], cpus: int) -> Steering:
    host = {name: record.cpus for name, record in hosts.items() if record.cpus}
    network = {name: record.cpus for name, record in planner.networks.items() if record.cpus}
    reason = "" if host or network else "the topology names no CPUs"
    if planner.wrapped:
        reason = f"the topology names more CPUs than the {cpus} of this machine"
    return Steering(applied=False, shared=planner.wrapped, reason=reason, host=host, network=network)


class _Planner:
    """Hands out interface numbers, names and MAC addresses in the order of the topology."""

    def __init__(self, topology: Topology, cpus: Sequence[int]) -> None:
        self._cpus = cpus
        self._index = _FIRST_INDEX
        self._ports = 0
        self.wrapped = False
        described = networks_of(topology)
        wired = attachments(topology)
        self._subnets = subnets(topology)
        self._crowd = {
            name: sum(attachment.network in group for attachment in wired)
            for group in (frozenset(group) for group in segments(topology))
            for name in group
        }
        self.networks: dict[str, NetworkRecord] = {}
        for number, (name, network) in enumerate(described.items(), 1):
            self.networks[name] = NetworkRecord(
                bridge=f"b{number}",
                index=self._next_index(),
                mac=_mac(0xB0, number),
                ifb=f"i{number}" if network.medium == "shared" and network.rate_mbps is not None else None,
                ifb_index=self._next_index(),
                medium=network.medium,
                rate_mbps=network.rate_mbps,
                mtu=network.mtu,
                subnet=str(self._subnets[name]),
                ports=[],
                port_details=[],
                limit_bytes=limit_bytes(self._crowd[name]),
                burst_bytes=burst_bytes(network.rate_mbps, network.mtu) if network.rate_mbps else None,
                cpus=self.machine_cpus(network.cpus),
            )
        self.interfaces: dict[str, list[Interface]] = {name: [] for name in topology.hosts}
        self._addresses = addresses(topology)
        for attachment in wired:
            self._attach(attachment.host, attachment.network, attachment.rate_mbps)
        for trunk in trunks(topology):
            first = self._port(trunk.networks[0], None, None, trunk.rate_mbps)
            second = self._port(trunk.networks[1], None, first.name, trunk.rate_mbps)
            first.trunk = second.name

    def machine_cpus(self, wanted: list[int] | None) -> list[int] | None:
        """CPU ids of this machine for those of the topology."""
        if wanted is None:
            return None
        if max(wanted) >= len(self._cpus):
            self.wrapped = True
        return sorted({self._cpus[cpu % len(self._cpus)] for cpu in wanted})

    def _attach(self, host: str, network: str, rate_mbps: float | None) -> None:
        port = self._port(network, host, None, rate_mbps)
        number = len(self.interfaces[host])
        self.interfaces[host].append(
            Interface(
                name=f"eth{number}",
                index=_FIRST_HOST_INDEX + number,
                network=network,
                mac=_mac(0xA0, self._ports),
                address=self._addresses[host, network],
                prefix=self._subnets[network].prefixlen,
                mtu=self.networks[network].mtu,
                peer=port.name,
            )
        )

    def _port(self, network: str, host: str | None, trunk: str | None, rate_mbps: float | None) -> Port:
        self._ports += 1
        # A trunk's ends are each shaped on their way out; only a host's end is out of the network's reach.
        shaped_in = rate_mbps is not None and host is not None
        port = Port(
            name=f"p{self._ports}",
            index=self._next_index(),
            mac=_mac(0xC0, self._ports),
            host=host,
            trunk=trunk,
            rate_mbps=rate_mbps,
            ifb=f"l{self._ports}" if shaped_in else None,
            ifb_index=self._next_index() if shaped_in else None,
        )
        self.networks[network].ports.append(port.name)
        self.networks[network].port_details.append(port)
        return port

    def _next_index(self) -> int:
        self._index += 1
        return self._index


def _mac(kind: int, number: int) -> str:
    # 02: locally administered, unicast. The rest is the kind of thing and its number in the lab.
    return f"02:54:{kind:02x}:{number >> 16 & 0xFF:02x}:{number >> 8 & 0xFF:02x}:{number & 0xFF:02x}"
