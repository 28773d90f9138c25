"""Samples of the live feed: what changed between two looks at a lab (`agents.machine_look`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agents.metrics import containers_of, drops_of, rings_of

Json = dict[str, Any]
CPU_GROUPS = ("io", "hogs", "agent")


def sample(lab: str, now: Mapping[str, Any], before: Mapping[str, Any] | None) -> Json:
    """The sample of a look, with rates since the one before it; without one they are None.

    A rate is None, too, where a counter fell: an agent that was started again counts from 0.
    """
    over_s = now["moment"] - before["moment"] if before is not None else None
    earlier = before or {"hosts": {}, "networks": {}}
    hosts, networks = earlier["hosts"], earlier["networks"]
    return {
        "lab": lab,
        "at": round(now["at"], 3),
        "over_s": None if over_s is None else round(over_s, 4),
        "hosts": {name: _host(one, hosts.get(name), over_s) for name, one in now["hosts"].items()},
        "networks": {
            name: _network(one, networks.get(name), over_s) for name, one in now["networks"].items()
        },
    }


def loss_of(rates: Mapping[str, float | None]) -> float | None:
    """The share of what a sink's sources send that does not come; None where nothing is sent, or no sink."""
    expected, unique = rates.get("datagrams_expected"), rates.get("datagrams_unique")
    if not expected or unique is None:
        return None
    # One that came late was counted as missing before: more can come than was expected.
    return min(max((expected - unique) / expected, 0.0), 1.0)


def missing(counters: Mapping[str, int]) -> int | None:
    """The datagrams that a sink's sources have sent and it has not seen; None if it is no sink."""
    if "datagrams_expected" not in counters:
        return None
    return counters["datagrams_expected"] - counters["datagrams_unique"]


def mbps(bytes_per_s: float | None) -> float | None:
    """Bytes per second as 10^6 bits per second."""
    return None if bytes_per_s is None else bytes_per_s * 8 / 1e6


def _host(now: Json, before: Json | None, over_s: float | None) -> Json:
    said, had = now["said"], (before or {}).get("said")
    cpu = _rates(now["cpu_usec"], (before or {}).get("cpu_usec"), over_s)
    found: Json = {
        "state": now["state"],
        "hogs": None,
        "cpu": {group: _scaled(cpu.get(group), 1e-6, 4) for group in CPU_GROUPS},
        **dict.fromkeys(("containers", "rings", "drops_per_s", "workloads")),
    }
    if said is None:
        # Nobody can say what a host does whose agent has died, or does not answer.
        nothing = now["state"] in ("idle", "stopped")
        empty = {"hogs": 0, "containers": {}, "rings": {}, "drops_per_s": {}, "workloads": []}
        return {**found, **empty} if nothing else found
    # An agent has its own moment: it may have answered late.
    seconds = said["moment"] - had["moment"] if had else None
    workloads = {one["id"]: one["counters"] for one in had["running"]} if had else {}
    return {
        **found,
        "hogs": said["hogs"],
        "containers": containers_of(said),
        "rings": rings_of(said),
        "drops_per_s": _drops(_host_drops(said), _host_drops(had) if had else None, seconds),
        "workloads": [_workload(one, workloads.get(one["id"]), seconds) for one in said["running"]],
    }


def _host_drops(said: Json) -> dict[str, int]:
    # With AF_PACKET the kernel gets a copy of every frame of our stack's, and gives it to nobody: no loss.
    return {**({} if said["managed"] else said["kernel"]), **drops_of(said)}


def _workload(now: Json, before: Mapping[str, int] | None, seconds: float | None) -> Json:
    counters = now["counters"]
    rates = _rates(counters, before, seconds)

    def rate(*names: str) -> float | None:
        """Of the first of these that is counted; what is not counted does not happen."""
        counted = [name for name in names if name in counters]
        return rates[counted[0]] if counted else (None if before is None else 0.0)

    return {
        **{name: now[name] for name in ("id", "workload", "system", "state")},
        "mbps_in": _scaled(mbps(rate("bytes_in"))),
        "mbps_out": _scaled(mbps(rate("bytes_out"))),
        "datagrams_in_per_s": _scaled(rate("datagrams_in", "operations_in")),
        "datagrams_out_per_s": _scaled(rate("datagrams_out", "operations_out")),
        "loss": _scaled(loss_of(rates), digits=5),
        "lost": missing(counters),
    }


def _network(now: Json, before: Json | None, over_s: float | None) -> Json:
    had = before or {}
    links = had.get("links", {})
    carried = _rates({"bytes": now["bytes"]}, had or None, over_s)
    return {
        **{name: now[name] for name in ("state", "rate_mbps", "medium", "backlog_bytes", "loss")},
        "mbps": _scaled(mbps(carried["bytes"])),
        "drops_per_s": _drops(now["drops"], had.get("drops"), over_s),
        "links": {host: _link(link, links.get(host), over_s) for host, link in now["links"].items()},
    }


def _link(now: Json, before: Json | None, over_s: float | None) -> Json:
    rates = _rates({name: now[name] for name in ("to_bytes", "from_bytes")}, before, over_s)
    return {
        "state": now["state"],
        "mbps_to": _scaled(mbps(rates["to_bytes"])),
        "mbps_from": _scaled(mbps(rates["from_bytes"])),
    }


def _drops(now: Mapping[str, int], before: Mapping[str, int] | None, seconds: float | None) -> Json | None:
    """Only the places where something is dropped; None where nobody can say."""
    if before is None or not seconds:
        return None
    rates = _rates(now, before, seconds)
    return {place: round(rate, 3) for place, rate in rates.items() if rate}


def _rates(
    now: Mapping[str, int], before: Mapping[str, Any] | None, seconds: float | None
) -> dict[str, float | None]:
    """How fast each counter has grown; None for one that fell, or that was not there before."""
    if before is None or not seconds:
        return dict.fromkeys(now)
    return {
        name: (value - before[name]) / seconds if name in before and value >= before[name] else None
        for name, value in now.items()
    }


def _scaled(value: float | None, factor: float = 1.0, digits: int = 3) -> float | None:
    return None if value is None else round(value * factor, digits)
