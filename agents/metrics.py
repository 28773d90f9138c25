"""The metrics of hosts and networks for Prometheus, made of a look at them (`agents.machine_look`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from agents.families import Family, Page

Json = Mapping[str, Any]

DIRECTIONS = ("in", "out")
STATES = ("idle", "running", "failed", "stopped")
_HOST = ("lab", "host")
_WORKLOAD = (*_HOST, "workload", "system")
_NETWORK = ("lab", "network")

DATAGRAMS = Family(
    "transship_datagrams_total",
    "counter",
    (*_WORKLOAD, "direction"),
    "UDP datagrams that workloads took in (`in`) and gave out (`out`)",
)
OPERATIONS = Family(
    "transship_operations_total",
    "counter",
    (*_WORKLOAD, "direction"),
    "operations (and video frames) that workloads took from a local channel (`in`) and gave to one (`out`)",
)
BYTES = Family("transship_bytes_total", "counter", (*_WORKLOAD, "direction"), "the payload of both, in bytes")
EXPECTED = Family(
    "transship_datagrams_expected_total",
    "counter",
    _WORKLOAD,
    "datagrams that a sink's sources have sent, by their sequence numbers",
)
UNIQUE = Family(
    "transship_datagrams_unique_total",
    "counter",
    _WORKLOAD,
    "those of them that have come, duplicates not counted: what is missing is lost, or on its way",
)
DROPPED = Family(
    "transship_dropped_datagrams_total",
    "counter",
    (*_HOST, "place"),
    "datagrams dropped inside workloads and the manager, by named place",
)
KERNEL_DROPPED = Family(
    "transship_kernel_dropped_datagrams_total",
    "counter",
    (*_HOST, "place"),
    "datagrams that the host's kernel had and gave to nobody, by named place",
)
CONTAINERS = Family(
    "transship_containers", "gauge", (*_HOST, "state"), "containers of the host's pool, by state"
)
RECLAIMED = Family(
    "transship_reclaimed_containers_total",
    "counter",
    _HOST,
    "containers that the manager took back from processes that had ended",
)
ALLOCATED = Family(
    "transship_allocated_containers_total",
    "counter",
    (*_WORKLOAD, "source"),
    "containers that workloads allocated: `recycled`, which had been theirs, or of their path, before, "
    "or fetched from the `pool`",
)
BACKLOG = Family(
    "transship_ring_backlog", "gauge", (*_HOST, "ring"), "entries waiting in a shared-memory ring"
)
CPU = Family(
    "transship_cpu_seconds_total",
    "counter",
    (*_HOST, "group"),
    "CPU time of the I/O path (`io`), all hogs (`hogs`) and the host agent (`agent`)",
)
WORKLOADS = Family(
    "transship_workloads",
    "gauge",
    (*_WORKLOAD, "state"),
    "workloads that run now, and that ended since the host agent started",
)
HOGS = Family("transship_hogs", "gauge", _HOST, "CPU hogs that run")
HOSTS = (
    *(DATAGRAMS, OPERATIONS, BYTES, EXPECTED, UNIQUE, DROPPED, KERNEL_DROPPED),
    *(CONTAINERS, RECLAIMED, ALLOCATED, BACKLOG, CPU, WORKLOADS, HOGS),
)
"""What a host's metrics are."""

AGENT_STATE = Family(
    "transship_host_agent_state",
    "gauge",
    (*_HOST, "state"),
    "1 for the state that the host's agent is in, 0 for the others: "
    "`idle` (never used), `running`, `failed`, `stopped`",
)
NETWORK_UP = Family("transship_network_up", "gauge", _NETWORK, "0 while the network is cut, else 1")
NETWORK_RATE = Family(
    "transship_network_rate_bytes_per_second",
    "gauge",
    _NETWORK,
    "the network's rate; not there while it has none",
)
NETWORK_BYTES = Family(
    "transship_network_bytes_total",
    "counter",
    _NETWORK,
    "whole frames that left the network to its stations and trunks, in bytes",
)
NETWORK_BACKLOG = Family(
    "transship_network_backlog_bytes", "gauge", _NETWORK, "what waits in the network's queues"
)
NETWORK_DROPPED = Family(
    "transship_network_dropped_total",
    "counter",
    (*_NETWORK, "place"),
    "frames that the network dropped, by named place",
)
LINK_UP = Family(
    "transship_link_up",
    "gauge",
    (*_NETWORK, "host"),
    "0 while the host's link to the network, or the whole network, is cut, else 1",
)
LINK_BYTES = Family(
    "transship_link_bytes_total",
    "counter",
    (*_NETWORK, "host", "direction"),
    "whole frames that came to the host (`in`) and from it (`out`), in bytes",
)
LAB = (
    *HOSTS,
    *(AGENT_STATE, NETWORK_UP, NETWORK_RATE, NETWORK_BYTES, NETWORK_BACKLOG, NETWORK_DROPPED),
    *(LINK_UP, LINK_BYTES),
)
"""What a lab's metrics are."""


def render_host(lab: str, host: str, seen: Json) -> bytes:
    """The metrics of one host: its part of a look."""
    page = Page(HOSTS)
    _add_host(page, (lab, host), seen)
    return page.text()


def render_lab(lab: str, look: Json) -> bytes:
    """The metrics of all hosts and networks of a lab."""
    page = Page(LAB)
    for host, seen in look["hosts"].items():
        _add_host(page, (lab, host), seen)
        for state in STATES:
            page.add(AGENT_STATE, (lab, host, state), int(seen["state"] == state))
    for name, network in look["networks"].items():
        labels = (lab, name)
        page.add(NETWORK_UP, labels, int(network["state"] == "running"))
        if network["rate_mbps"] is not None:
            page.add(NETWORK_RATE, labels, network["rate_mbps"] * 1e6 / 8)
        page.add(NETWORK_BYTES, labels, network["bytes"])
        page.add(NETWORK_BACKLOG, labels, network["backlog_bytes"])
        for place, count in network["drops"].items():
            page.add(NETWORK_DROPPED, (*labels, place), count)
        for host, link in network["links"].items():
            page.add(LINK_UP, (*labels, host), int("cut" not in (network["state"], link["state"])))
            page.add(LINK_BYTES, (*labels, host, "in"), link["to_bytes"])
            page.add(LINK_BYTES, (*labels, host, "out"), link["from_bytes"])
    return page.text()


def drops_of(said: Json) -> Counter[str]:
    """Datagrams dropped by a host's workloads and its manager, by place."""
    places: Counter[str] = Counter()
    for total in said["totals"]:
        for name, value in total["counters"].items():
            if name.startswith("drop_"):
                places[name.removeprefix("drop_")] += value
    return places


def containers_of(said: Json) -> dict[str, int]:
    """The containers of a host's pool, by state."""
    gauges = said["gauges"].items()
    return {name.removeprefix("containers_"): n for name, n in gauges if name.startswith("containers_")}


def rings_of(said: Json) -> dict[str, int]:
    """What waits in each of a host's rings."""
    return {
        name.removeprefix("ring_").removesuffix("_backlog"): value
        for name, value in said["gauges"].items()
        if name.startswith("ring_") and name.endswith("_backlog")
    }


def _add_host(page: Page, labels: tuple[str, str], seen: Json) -> None:
    for group, usec in seen["cpu_usec"].items():
        page.add(CPU, (*labels, group), usec / 1e6)
    said = seen["said"]
    if said is None:
        return
    page.add(HOGS, labels, said["hogs"])
    for total in said["totals"]:
        _add_total(page, labels, total)
    for family, places in ((DROPPED, drops_of(said)), (KERNEL_DROPPED, said["kernel"])):
        for place, count in sorted(places.items()):
            page.add(family, (*labels, place), count)
    for family, levels in ((CONTAINERS, containers_of(said)), (BACKLOG, rings_of(said))):
        for name, level in sorted(levels.items()):
            page.add(family, (*labels, name), level)
    for one in said["states"]:
        page.add(WORKLOADS, (*labels, one["workload"], one["system"], one["state"]), one["count"])


def _add_total(page: Page, labels: tuple[str, str], total: Json) -> None:
    who = (*labels, total["workload"], total["system"])
    counters = total["counters"]
    for family, unit in ((DATAGRAMS, "datagrams"), (OPERATIONS, "operations"), (BYTES, "bytes")):
        for direction in DIRECTIONS:
            if (value := counters.get(f"{unit}_{direction}")) is not None:
                page.add(family, (*who, direction), value)
    for family, name in ((EXPECTED, "datagrams_expected"), (UNIQUE, "datagrams_unique")):
        if (value := counters.get(name)) is not None:
            page.add(family, who, value)
    for source in ("recycled", "pool"):
        if (value := counters.get(f"allocated_{source}")) is not None:
            page.add(ALLOCATED, (*who, source), value)
    if (value := counters.get("reclaimed_containers")) is not None:
        page.add(RECLAIMED, labels, value)
