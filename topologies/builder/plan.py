"""From a topology to the record of a lab: every name, number, address and size, before anything exists."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from topologies.builder.shaping import burst_bytes, limit_bytes, shared_device
from topologies.builder.standing import FIRST_HOST_INDEX, Standing
from topologies.model import Network, Topology
from topologies.record import HostRecord, Interface, NetworkRecord, Port, Record, Steering
from topologies.wiring import addresses, attachments, networks_of, segments, subnets, trunks


def plan(
    lab: str, topology: Topology, run_dir: Path, cpus: Sequence[int], before: Record | None = None
) -> Record:
    """The record of `lab`, pure and deterministic.

    Args:
        cpus: the CPUs this machine offers; a topology's ids count modulo their number.
        before: the record of the same lab with another topology. What is in both keeps its names, numbers
            and, as far as the topology leaves that open, addresses.
    """
    planner = _Planner(topology, cpus, before)
    hosts = {
        name: HostRecord(
            namespace=f"transship-{lab}-{name}",
            cgroup=f"transship/{lab}/{name}",
            cpus=planner.machine_cpus(host.cpus),
            interfaces=planner.interfaces[name],
            stopped=name in planner.standing.hosts and planner.standing.hosts[name].stopped,
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

    def __init__(self, topology: Topology, cpus: Sequence[int], before: Record | None) -> None:
        self._cpus = cpus
        self.standing = Standing(before)
        self.wrapped = False
        wired = attachments(topology)
        self._subnets = subnets(topology, self.standing.subnets)
        self._crowd = {
            name: sum(attachment.network in group for attachment in wired)
            for group in (frozenset(group) for group in segments(topology))
            for name in group
        }
        self.networks = {
            name: self._network(name, network) for name, network in networks_of(topology).items()
        }
        self.interfaces: dict[str, list[Interface]] = {name: [] for name in topology.hosts}
        ends = {(attachment.host, attachment.network) for attachment in wired}
        self._addresses = addresses(topology, self._subnets, self.standing.addresses(ends, self._subnets))
        for attachment in wired:
            self._attach(attachment.host, attachment.network, attachment.rate_mbps)
        for trunk in trunks(topology):
            there, back = trunk.networks
            first = self._port(there, back, trunk.rate_mbps, host=None)
            second = self._port(back, there, trunk.rate_mbps, host=None)
            first.trunk, second.trunk = second.name, first.name

    def machine_cpus(self, wanted: list[int] | None) -> list[int] | None:
        """CPU ids of this machine for those of the topology."""
        if wanted is None:
            return None
        if max(wanted) >= len(self._cpus):
            self.wrapped = True
        return sorted({self._cpus[cpu % len(self._cpus)] for cpu in wanted})

    def _network(self, name: str, network: Network) -> NetworkRecord:
        old = self.standing.networks.get(name)
        number = int(old.bridge[1:]) if old else self.standing.next_bridge()
        shaped = network.medium == "shared" and network.rate_mbps is not None
        made = NetworkRecord(
            bridge=f"b{number}",
            index=old.index if old else self.standing.next_index(),
            mac=_mac(0xB0, number),
            ifb=old.ifb if old else None,  # once made it stays
            ifb_index=old.ifb_index if old else self.standing.next_index(),
            medium=network.medium,
            rate_mbps=network.rate_mbps,
            mtu=network.mtu,
            subnet=str(self._subnets[name]),
            ports=[],
            port_details=[],
            limit_bytes=limit_bytes(self._crowd[name]),
            burst_bytes=burst_bytes(network.rate_mbps, network.mtu) if network.rate_mbps else None,
            cpus=self.machine_cpus(network.cpus),
            impairments=network.impairments,
            gate=old.gate if old else None,
            cut=old.cut if old else False,
        )
        return made.model_copy(update={"ifb": shared_device(made)}) if shaped else made

    def _attach(self, host: str, network: str, rate_mbps: float | None) -> None:
        port = self._port(network, host, rate_mbps, host=host)
        old = self.standing.interface(host, network)
        number = int(old.name[3:]) if old else self.standing.next_interface(host, self.interfaces[host])
        self.interfaces[host].append(
            Interface(
                name=f"eth{number}",
                index=FIRST_HOST_INDEX + number,
                network=network,
                mac=_mac(0xA0, int(port.name[1:])),
                address=self._addresses[host, network],
                prefix=self._subnets[network].prefixlen,
                mtu=self.networks[network].mtu,
                peer=port.name,
            )
        )

    def _port(self, network: str, end: str, rate_mbps: float | None, *, host: str | None) -> Port:
        record, old = self.networks[network], self.standing.port(network, end)
        number = int(old.name[1:]) if old else self.standing.next_port()
        # A trunk's ends are each shaped on their way out; only a host's end is out of the network's reach.
        shaped_in = rate_mbps is not None and host is not None
        index = old.index if old else self.standing.next_index()
        ifb = old.ifb_index if old else None
        if shaped_in and ifb is None:
            ifb = self.standing.next_index()
        port = Port(
            name=f"p{number}",
            index=index,
            mac=_mac(0xC0, number),
            host=host,
            trunk=None,
            rate_mbps=rate_mbps,
            ifb=f"l{number}" if ifb is not None else None,
            ifb_index=ifb,
            slot=old.slot if old else self.standing.next_slot(network, record.port_details),
            cut=old.cut if old else False,
        )
        record.ports.append(port.name)
        record.port_details.append(port)
        return port


def _mac(kind: int, number: int) -> str:
    # 02: locally administered, unicast. The rest is the kind of thing and its number in the lab.
    return f"02:54:{kind:02x}:{number >> 16 & 0xFF:02x}:{number >> 8 & 0xFF:02x}:{number & 0xFF:02x}"
