"""A host's metrics for Prometheus, made of what its host agent read from shared memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

DIRECTIONS = ("in", "out")


class HostCollector(Collector):
    """The metric families of one host. `measured` is the answer of the host agent's /metrics.json."""

    def __init__(self, lab: str, host: str, measured: Mapping[str, Any]) -> None:
        self._host = [lab, host]
        self._measured = measured

    def collect(self) -> Iterable[Metric]:
        yield from self._traffic()
        yield self._drops()
        yield from self._stack()
        yield self._cpu()
        yield self._workloads()

    def _traffic(self) -> Iterable[Metric]:
        labels = ["lab", "host", "workload", "system", "direction"]
        datagrams = CounterMetricFamily(
            "transship_datagrams", "UDP datagrams that workloads took in and gave out.", labels=labels
        )
        operations = CounterMetricFamily(
            "transship_operations",
            "Operations on local channels that workloads took in and gave out.",
            labels=labels,
        )
        octets = CounterMetricFamily(
            "transship_bytes", "Payload bytes that workloads took in and gave out.", labels=labels
        )
        for family, unit in ((datagrams, "datagrams"), (operations, "operations"), (octets, "bytes")):
            for total in self._measured["totals"]:
                for direction in DIRECTIONS:
                    value = total["counters"].get(f"{unit}_{direction}")
                    if value is not None:
                        who = [total["workload"], total["system"]]
                        family.add_metric([*self._host, *who, direction], value)
        yield datagrams
        yield operations
        yield octets

    def _drops(self) -> Metric:
        places: Counter[str] = Counter()
        for total in self._measured["totals"]:
            for name, value in total["counters"].items():
                if name.startswith("drop_"):
                    places[name.removeprefix("drop_")] += value
        family = CounterMetricFamily(
            "transship_dropped_datagrams",
            "Datagrams dropped by the host's workloads and manager, by place.",
            labels=["lab", "host", "place"],
        )
        for place, value in sorted(places.items()):
            family.add_metric([*self._host, place], value)
        return family

    def _stack(self) -> Iterable[Metric]:
        containers = GaugeMetricFamily(
            "transship_containers",
            "Containers of the host's pool, by state.",
            labels=["lab", "host", "state"],
        )
        backlog = GaugeMetricFamily(
            "transship_ring_backlog", "Entries waiting in a ring.", labels=["lab", "host", "ring"]
        )
        reclaimed = CounterMetricFamily(
            "transship_reclaimed_containers",
            "Containers that the manager took back from processes that had ended.",
            labels=["lab", "host"],
        )
        for total in self._measured["totals"]:
            if (value := total["counters"].get("reclaimed_containers")) is not None:
                reclaimed.add_metric(self._host, value)
        for name, value in sorted(self._measured["gauges"].items()):
            if name.startswith("containers_"):
                containers.add_metric([*self._host, name.removeprefix("containers_")], value)
            elif name.startswith("ring_") and name.endswith("_backlog"):
                ring = name.removeprefix("ring_").removesuffix("_backlog")
                backlog.add_metric([*self._host, ring], value)
        yield containers
        yield reclaimed
        yield backlog

    def _cpu(self) -> Metric:
        family = CounterMetricFamily(
            "transship_cpu_seconds",
            "CPU time of the host's cgroups: the I/O path, the hogs, the host agent.",
            labels=["lab", "host", "group"],
        )
        for group, usec in self._measured["cpu_usec"].items():
            family.add_metric([*self._host, group], usec / 1e6)
        return family

    def _workloads(self) -> Metric:
        family = GaugeMetricFamily(
            "transship_workloads",
            "Workloads, by state: those that run now, and those that ended since the host agent started.",
            labels=["lab", "host", "workload", "system", "state"],
        )
        for one in self._measured["states"]:
            family.add_metric([*self._host, one["workload"], one["system"], one["state"]], one["count"])
        return family


def render(lab: str, host: str, measured: Mapping[str, Any]) -> bytes:
    """The host's metrics in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(HostCollector(lab, host, measured))
    return generate_latest(registry)
