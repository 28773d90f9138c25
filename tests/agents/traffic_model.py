"""The model behind `FakeMachine`: datagrams from a source over forwarders to a sink, and what counts them."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agents.client import Json

BIN_NS = 10_000_000
"""Width of a sink's bins of arrivals, as the real one's."""
FRAME_EXTRA = 42
"""Bytes of Ethernet, IPv4 and UDP headers around a datagram's payload."""
LINE_MBPS = 10_000.0
"""What a network without a rate carries."""


@dataclass
class FakeWorkload:
    """A workload of the model; `ends` is when (time.monotonic) a source is done."""

    id: str
    host: str
    spec: Json
    ends: float | None = None
    state: str = "running"
    message: str = ""
    counters: Counter[str] = field(default_factory=Counter)
    result: Json = field(default_factory=dict)
    manager: Json | None = None
    series: Json | None = None

    def look(self) -> Json:
        if self.state == "running" and self.ends is not None and time.monotonic() >= self.ends:
            self.state = "done"
        return {
            "id": self.id,
            "workload": self.spec["workload"],
            "system": self.spec["system"],
            "pid": 1000,
            "state": self.state,
            "message": self.message,
            "counters": dict(self.counters),
            "result": dict(self.result) if self.state == "done" else None,
            "manager": self.manager,
            "series": self.series if self.state == "done" else None,
        }


class FakeLab:
    """A deployed lab of the model."""

    def __init__(self, name: str, topology: Mapping[str, Any]) -> None:
        self.topology = dict(topology)
        self.record = _record(name, topology)
        self.counters: Counter[str] = Counter()
        self.hosts: dict[str, Counter[str]] = {host: Counter() for host in topology["hosts"]}
        self.cpu = dict.fromkeys(topology["hosts"], 1.0)
        self.hogs = dict.fromkeys(topology["hosts"], 0)
        self.workloads: dict[str, FakeWorkload] = {}


Hop = tuple[FakeWorkload, FakeWorkload | None]


def way(lab: FakeLab, source: FakeWorkload) -> list[Hop]:
    """From workload to workload, by their addresses."""
    way: list[Hop] = []
    at: FakeWorkload | None = source
    while at is not None and at.spec["workload"] != "sink" and len(way) < 20:
        remote = at.spec["params"]["remote"]
        following = next(
            (
                w
                for w in lab.workloads.values()
                if w.state == "running" and w is not at and w.spec["params"].get("local") == remote
            ),
            None,
        )
        way.append((at, following))
        at = following
    return way


def _network(lab: FakeLab, receiver: FakeWorkload) -> str | None:
    address = receiver.spec["params"]["local"].split(":")[0]
    for interface in lab.record["hosts"][receiver.host]["interfaces"]:
        if interface["address"] == address:
            return str(interface["network"])
    return None


def ring_mbps(lab: FakeLab, hop: Hop, size: int) -> float:
    network = _network(lab, hop[1]) if hop[1] is not None else None
    rate = lab.record["networks"][network]["rate_mbps"] if network is not None else None
    return (rate or LINE_MBPS) * size / (size + FRAME_EXTRA)


def cross(lab: FakeLab, hop: tuple[FakeWorkload, FakeWorkload], count: int, size: int) -> None:
    network = _network(lab, hop[1])
    if network is None:
        return
    for workload, own, other in ((hop[0], "tx", "rx"), (hop[1], "rx", "tx")):
        for interface in lab.record["hosts"][workload.host]["interfaces"]:
            if interface["network"] == network:
                for device, way in (
                    (f"{workload.host}.{interface['name']}", own),
                    (f"{network}.{interface['peer']}", other),
                ):
                    lab.counters[f"{device}.{way}_packets"] += count
                    lab.counters[f"{device}.{way}_bytes"] += count * (size + FRAME_EXTRA)


def forward(
    lab: FakeLab, forwarder: FakeWorkload, numbers: Sequence[int], share: float, size: int
) -> list[int]:
    """The numbers that a forwarder passes on when it manages `share` of what comes; the rest is dropped
    where the host has its queue, and counted there."""
    share = min(share, 1.0)
    passed = [n for i, n in enumerate(numbers) if int((i + 1) * share + 1e-9) > int(i * share + 1e-9)]
    dropped = len(numbers) - len(passed)
    if forwarder.manager is not None:
        forwarder.manager["counters"] = {"drop_endpoint_queue": dropped}
    else:
        lab.hosts[forwarder.host].update({"udp.RcvbufErrors": dropped, "udp.InErrors": dropped})
    count = len(passed)
    forwarder.counters.update(
        datagrams_in=count, bytes_in=count * size, datagrams_out=count, bytes_out=count * size
    )
    forwarder.result = {"received": count, "sent": count, "wakeups": count // 2}
    return passed


def sample(
    workload: FakeWorkload,
    numbers: Sequence[int],
    at: Callable[[int], int],
    counters: Mapping[str, Callable[[int], int]],
) -> None:
    """The series of a workload that is sampled: number n comes at `at(n)`, and a counter says how far it is
    when so many have come."""
    interval_s = workload.spec.get("sample_s")
    if interval_s is None or not numbers:
        return
    width = int(interval_s * 1e9)
    moments = [width * tick for tick in range(at(numbers[0]) // width, at(numbers[-1]) // width + 2)]
    come = [bisect_right(numbers, moment, key=at) for moment in moments]
    workload.series = {
        "interval_s": interval_s,
        "t_ns": moments,
        "counters": {name: [far(count) for count in come] for name, far in counters.items()},
    }


def fresh_result(workload: FakeWorkload) -> None:
    if workload.spec["workload"] == "forwarder":
        workload.result = {"received": 0, "sent": 0, "wakeups": 0}
    elif workload.spec["workload"] == "sink":
        arrive(workload, [], Sending(0, 0.0, range(0)), 0)


@dataclass(frozen=True)
class Sending:
    """When a source sent what: number n at `start_ns` + n x `spacing_ns`; which numbers are measured."""

    start_ns: int
    spacing_ns: float
    measured: range

    def at(self, number: int) -> int:
        return self.start_ns + int(number * self.spacing_ns)


def arrive(sink: FakeWorkload, numbers: Sequence[int], sending: Sending, size: int) -> None:
    """The numbers reach the sink as they were sent; its result has the keys of the real one's."""
    unique = sorted(set(numbers))
    measured = [n for n in unique if n in sending.measured]
    again = sorted((Counter(numbers) - Counter(unique)).elements())
    bins: Counter[int] = Counter((sending.at(n) - sending.start_ns) // BIN_NS for n in unique)
    lost: list[list[int]] = []
    expected = 0
    for number in unique:
        if number > expected:
            lost.append([expected, number - 1])
        expected = number + 1
    sink.counters.update(datagrams_in=len(numbers), bytes_in=len(numbers) * size)
    sample(
        sink,
        unique,
        sending.at,
        {
            "datagrams_unique": lambda come: come,
            "datagrams_expected": lambda come: unique[come - 1] + 1 if come else 0,
        },
    )
    sink.result = {
        "received": len(numbers),
        "received_measured": sum(n in sending.measured for n in numbers),
        "unique": len(unique),
        "unique_measured": len(measured),
        "duplicates": len(again),
        "reordered": 0,
        "foreign": 0,
        "bytes": len(numbers) * size,
        "highest": expected,
        "first_ns": sending.at(unique[0]) if unique else 0,
        "last_ns": sending.at(unique[-1]) if unique else 0,
        "first_measured_ns": sending.at(measured[0]) if measured else 0,
        "last_measured_ns": sending.at(measured[-1]) if measured else 0,
        "busy_ns": 0,
        "busy": 0.2,
        "lost": expected - len(unique),
        "lost_ranges": lost[:1000],
        "duplicate_list_count": len(again[:1000]),
        "duplicate_list": again[:1000],
        "bin0_ns": sending.start_ns,
        "bin_ns": BIN_NS,
        "bins": max(bins, default=-1) + 1,
        "bin": [bins[number] for number in range(max(bins, default=-1) + 1)],
    }


def _record(name: str, topology: Mapping[str, Any]) -> Json:
    """What a lab's Record has that clients look at."""
    hosts: Json = {
        host: {
            "namespace": f"transship-{name}-{host}",
            "cgroup": f"transship/{name}/{host}",
            "cpus": (settings or {}).get("cpus"),
            "interfaces": [],
        }
        for host, settings in topology["hosts"].items()
    }
    networks: Json = {}
    for number, (network, settings) in enumerate(topology["networks"].items(), 1):
        ports = []
        for station_number, station in enumerate(settings["stations"], 1):
            interfaces = hosts[station]["interfaces"]
            port = f"p{number}-{station_number}"
            ports.append(port)
            interfaces.append(
                {
                    "name": f"eth{len(interfaces)}",
                    "network": network,
                    "mac": f"02:00:00:00:{number:02x}:{station_number:02x}",
                    "address": f"10.{number}.0.{station_number}",
                    "prefix": 24,
                    "mtu": settings.get("mtu", 1500),
                    "peer": port,
                }
            )
        networks[network] = {
            "bridge": f"b{number}",
            "ifb": f"i{number}" if settings.get("medium", "shared") == "shared" else None,
            "medium": settings.get("medium", "shared"),
            "rate_mbps": settings.get("rate_mbps"),
            "mtu": settings.get("mtu", 1500),
            "ports": ports,
        }
    return {
        "lab": name,
        "state": "deployed",
        "run_dir": f"/run/transship/{name}",
        "topology": dict(topology),
        "namespace": f"transship-{name}-net",
        "hosts": hosts,
        "networks": networks,
        "steering": {"applied": False, "shared": False, "reason": "a model", "host": {}, "network": {}},
    }
