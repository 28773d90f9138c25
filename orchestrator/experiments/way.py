"""The way of a stream of datagrams through a lab: from the source over forwarders to the sink."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

PORT = 9000


@dataclass(frozen=True)
class Wire:
    """One crossing: the sending and the receiving host's interface, and the networks' devices between.

    `networks` are those that a datagram crosses, more than one where trunks join them; `trunks` are the ports
    by which it leaves one and comes into the next.
    """

    networks: tuple[str, ...]
    sender: str
    sender_port: str
    receiver: str
    receiver_port: str
    trunks: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """The networks in words."""
        return "+".join(self.networks)


@dataclass(frozen=True)
class Crossing:
    """Where one leg of a way is: the networks that its ends are on (often the same), and all it may cross."""

    leaves: str
    enters: str
    networks: tuple[str, ...]

    @classmethod
    def of(cls, network: str) -> Crossing:
        """One network and nothing else."""
        return cls(network, network, (network,))


@dataclass(frozen=True)
class Leg:
    """One leg of a way in a deployed lab: its wire, and the addresses at both ends."""

    wire: Wire
    sender: str
    receiver: str


@dataclass(frozen=True)
class Way:
    """The hosts in the order of the data, and what is between them. `ports`: where each but the first
    listens."""

    hosts: tuple[str, ...]
    legs: tuple[Leg, ...]
    ports: tuple[int, ...]

    @classmethod
    def of(
        cls,
        record: Mapping[str, Any],
        hosts: Sequence[str],
        crossings: Sequence[Crossing],
        ports: Sequence[int] = (),
    ) -> Way:
        """Finds a way in a lab's record. Raises LookupError for what the lab does not have."""
        legs = tuple(
            _leg(record, hosts[at], hosts[at + 1], crossing) for at, crossing in enumerate(crossings)
        )
        return cls(tuple(hosts), legs, tuple(ports) or (PORT,) * len(legs))

    @property
    def wires(self) -> tuple[Wire, ...]:
        """What is crossed, in order."""
        return tuple(leg.wire for leg in self.legs)

    @property
    def networks(self) -> list[str]:
        """Every network on it, once."""
        return list(dict.fromkeys(name for wire in self.wires for name in wire.networks))

    @property
    def labels(self) -> tuple[str, ...]:
        """What its workloads are called in a trial's results, in order."""
        forwarders = len(self.hosts) - 2
        between = (
            ("forwarder",) if forwarders == 1 else tuple(f"forwarder {n + 1}" for n in range(forwarders))
        )
        return ("source", *between, "sink")

    def listens(self, at: int) -> str:
        """Address and port where the workload at that place receives."""
        return f"{self.legs[at - 1].receiver}:{self.ports[at - 1]}"


def managers_label(label: str) -> str:
    """What the manager behind a workload is called in a trial's results."""
    return label.replace("forwarder", "manager") if label.startswith("forwarder") else f"{label}'s manager"


def interface(record: Mapping[str, Any], host: str, network: str) -> Mapping[str, Any]:
    """A host's interface on a network, from the lab's record. Raises LookupError."""
    if host not in record["hosts"]:
        raise LookupError(f"there is no host {host}")
    for found in record["hosts"][host]["interfaces"]:
        if found["network"] == network:
            return dict(found)
    raise LookupError(f"host {host} has no interface on network {network}")


def _leg(record: Mapping[str, Any], sender: str, receiver: str, crossing: Crossing) -> Leg:
    for network in crossing.networks:
        if network not in record["networks"]:
            raise LookupError(f"there is no network {network}")
    out = interface(record, sender, crossing.leaves)
    into = interface(record, receiver, crossing.enters)
    wire = Wire(
        networks=crossing.networks,
        sender=f"{sender}.{out['name']}",
        sender_port=f"{crossing.leaves}.{out['peer']}",
        receiver=f"{receiver}.{into['name']}",
        receiver_port=f"{crossing.enters}.{into['peer']}",
        trunks=tuple(
            (f"{before}.{port['trunk']}", f"{after}.{port['name']}")
            for before, after in pairwise(crossing.networks)
            for port in record["networks"][after]["port_details"]
            if port["trunk"] in record["networks"][before]["ports"]
        ),
    )
    return Leg(wire, str(out["address"]), str(into["address"]))
