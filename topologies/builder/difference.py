"""What is to change in a lab: two records, compared thing by thing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from topologies.model import Impairments
from topologies.record import NetworkRecord, Record

Kind = Literal["host", "network", "interface", "trunk"]
_NETWORK = ("medium", "rate_mbps", "mtu", "subnet", "cpus")


@dataclass(frozen=True)
class Change:
    """One thing that is added, removed or changed. An interface's name is `host/network`, a trunk's
    `network/network`; `fields` are (old, new) of what changes."""

    change: Literal["add", "remove", "change"]
    kind: Kind
    name: str
    fields: Mapping[str, tuple[Any, Any]]

    def document(self) -> dict[str, Any]:
        """As it is told in JSON."""
        fields = {field: list(values) for field, values in self.fields.items()}
        return {"change": self.change, "kind": self.kind, "name": self.name, "fields": fields}


def difference(old: Record, new: Record) -> list[Change]:
    """What makes `new` of `old`: what goes, what comes, what changes in place."""
    before, after = dict(_things(old)), dict(_things(new))
    gone = [Change("remove", *thing, {}) for thing in before if thing not in after]
    come = [Change("add", *thing, {}) for thing in after if thing not in before]
    other = [
        Change("change", *thing, fields)
        for thing, values in after.items()
        if thing in before and (fields := _other(before[thing], values))
    ]
    return [*gone, *come, *other]


def _things(record: Record) -> Iterator[tuple[tuple[Kind, str], dict[str, Any]]]:
    for name, host in record.hosts.items():
        yield ("host", name), {"cpus": host.cpus}
    for name, network in record.networks.items():
        yield ("network", name), _network(network)
    ports = {port.name: port for network in record.networks.values() for port in network.port_details}
    for name, host in record.hosts.items():
        for interface in host.interfaces:
            address = f"{interface.address}/{interface.prefix}"
            fields = {"address": address, "rate_mbps": ports[interface.peer].rate_mbps}
            yield ("interface", f"{name}/{interface.network}"), fields
    for (first, second), rate_mbps in _trunks(record):
        yield ("trunk", f"{first}/{second}"), {"rate_mbps": rate_mbps}


def _network(network: NetworkRecord) -> dict[str, Any]:
    fields = {field: getattr(network, field) for field in _NETWORK}
    return fields | {field: getattr(network.impairments, field) for field in Impairments.model_fields}


def _trunks(record: Record) -> Iterator[tuple[tuple[str, str], float | None]]:
    owners = {port: name for name, network in record.networks.items() for port in network.ports}
    for name, network in record.networks.items():
        for port in network.port_details:
            if port.trunk is not None and name < owners[port.trunk]:
                yield (name, owners[port.trunk]), port.rate_mbps


def _other(old: dict[str, Any], new: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {field: (old[field], value) for field, value in new.items() if old[field] != value}
