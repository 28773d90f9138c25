"""One look at a whole lab: all that is watched of it, whatever any of its hosts does meanwhile."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agents.machine_builder import Builder
from agents.machine_hosts import HostLink
from topologies.record import Record

Json = dict[str, Any]

_STATES = {"none": "idle", "starting": "idle"}


@dataclass(frozen=True)
class Reading:
    """What this machine sees of a lab without its host agents, and the moments (clock, monotonic)."""

    at: float
    moment: float
    traffic: Mapping[str, Json]
    cpu_usec: Mapping[str, dict[str, int]]


def read(builder: Builder, record: Record, links: Mapping[str, HostLink]) -> Reading:
    """Reads that. It blocks: some 50 us for each host, and 10 us for each interface."""
    return Reading(
        at=time.time(),
        moment=time.monotonic(),
        traffic=builder.traffic(record),
        cpu_usec={host: link.cpu_usec() for host, link in links.items()},
    )


def look(record: Record, links: Mapping[str, HostLink], seen: Reading, said: Mapping[str, Any]) -> Json:
    """{"at", "moment", "hosts": {host: {"state", "cpu_usec", "said"}}, "networks": {network: {...}}}.

    A host is `idle` (never used), `running`, `failed` or `stopped`; `said` is its agent's answer to /look,
    None without one. A network has `state`, `rate_mbps`, `medium`, `loss` and what
    `topologies.builder.traffic` says; its links their `state` besides. All counters are cumulative.
    """
    hosts = {
        host: {
            "state": _STATES.get(link.state, link.state),
            "cpu_usec": seen.cpu_usec[host],
            "said": said.get(host),
        }
        for host, link in links.items()
    }
    networks = {}
    for name, network in record.networks.items():
        crossed = seen.traffic[name]
        links_cut = {port.host for port in network.port_details if port.cut}
        networks[name] = {
            "state": _cut(network.cut),
            "rate_mbps": network.rate_mbps,
            "medium": network.medium,
            "loss": network.impairments.loss,
            **crossed,
            "links": {
                host: {"state": _cut(host in links_cut), **link} for host, link in crossed["links"].items()
            },
        }
    return {"at": seen.at, "moment": seen.moment, "hosts": hosts, "networks": networks}


def _cut(cut: bool) -> str:
    return "cut" if cut else "running"
