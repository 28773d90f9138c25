"""A sample of the live feed as tables, in 60 columns if need be; what nobody uses takes a line."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.cli.tables import number, table

Json = dict[str, Any]
WIDE = 80
"""Columns from which on there is room for wide bars."""
LEAST_ROWS = 3
"""Rows that each table gets, however low the window is."""


def view(sample: Json, width: int, height: int | None = None, note: str = "") -> RenderableType:
    """The sample for a window of this size, or all of it without `height`; `note` is what is wrong."""
    hosts, networks = sample["hosts"], sample["networks"]
    used = {name: host for name, host in hosts.items() if host["state"] != "idle"}
    workloads = [(name, one) for name, host in used.items() for one in host["workloads"] or ()]
    rows = None if height is None else max((height - 9) // 3, LEAST_ROWS)
    parts: list[RenderableType] = [_heading(sample, note)]
    parts += _networks(networks, rows, 12 if width >= WIDE else 6)
    if used:
        parts += [Text(), *_hosts(used, rows)]
    if workloads:
        parts += [Text(), *_workloads(workloads, rows)]
    if len(used) < len(hosts):
        parts.append(_dim(f"idle: {len(hosts) - len(used)} of {len(hosts)} hosts"))
    return Group(*parts)


def _heading(sample: Json, note: str) -> Text:
    at = time.strftime("%H:%M:%S", time.localtime(sample["at"]))
    over = f", over {sample['over_s']:.1f} s" if sample["over_s"] is not None else ""
    heading = Text(f"lab {sample['lab']} at {at}{over}\n", style="bold")
    if note:
        heading.append(f"{note}\n", style="bold red")
    return heading


def _networks(networks: Mapping[str, Json], rows: int | None, width: int) -> list[RenderableType]:
    shown = _table("network", ">Mb/s", "", ">of", ">backlog", ">loss")

    def busy(network: Json) -> tuple[bool, float, float]:
        return network["state"] == "cut", sum((network["drops_per_s"] or {}).values()), network["mbps"] or 0

    kept = _busiest(list(networks.items()), rows, busy)
    for name, one in kept:
        shown.add_row(
            Text(f"{name} (cut)", style="red") if one["state"] == "cut" else name,
            number(one["mbps"]),
            Text(_bar(one, width), no_wrap=True),
            "-" if one["rate_mbps"] is None else f"{one['rate_mbps']:g}",
            _bytes(one["backlog_bytes"]),
            f"{100 * one['loss']:g} %" if one["loss"] else "-",
        )
    return [shown, *_drops(kept), *_rest(len(networks) - len(kept), "quieter network")]


def _hosts(hosts: Mapping[str, Json], rows: int | None) -> list[RenderableType]:
    shown = _table("host", "state", ">CPU", ">hogs", ">free", ">owned")

    def busy(host: Json) -> tuple[bool, float, float]:
        return host["state"] == "failed", sum((host["drops_per_s"] or {}).values()), host["cpu"]["io"] or 0

    kept = _busiest(list(hosts.items()), rows, busy)
    for name, one in kept:
        containers = one["containers"]
        free = None if not containers else containers.get("free", 0)
        owned = None if not containers else sum(containers.values()) - containers.get("free", 0)
        shown.add_row(
            name,
            Text(one["state"], style="" if one["state"] == "running" else "red"),
            number(one["cpu"]["io"]),
            _hogs(one),
            *("-" if count is None else str(count) for count in (free, owned)),
        )
    return [shown, *_drops(kept), *_rest(len(hosts) - len(kept), "quieter host")]


def _workloads(workloads: Sequence[tuple[str, Json]], rows: int | None) -> list[RenderableType]:
    shown = _table("host", "workload", "system", ">Mb/s in", ">out", ">loss")

    def busy(one: Json) -> tuple[float, float]:
        return one["loss"] or 0, (one["mbps_in"] or 0) + (one["mbps_out"] or 0)

    kept = _busiest(workloads, rows, busy)
    for host, one in kept:
        shown.add_row(
            host,
            one["workload"],
            one["system"],
            number(one["mbps_in"]),
            number(one["mbps_out"]),
            "-" if one["loss"] is None else f"{100 * one['loss']:.1f} %",
        )
    return [shown, *_rest(len(workloads) - len(kept), "quieter workload")]


def _table(*columns: str) -> Table:
    made = table(*columns)
    for column in made.columns:
        column.overflow = "ellipsis"  # names give way to numbers, which are never cut
    return made


def _busiest(
    rows: Sequence[tuple[str, Json]], most: int | None, busy: Callable[[Json], Any]
) -> list[tuple[str, Json]]:
    """All of them as they stand; if those are too many, the busiest first."""
    if most is None or len(rows) <= most:
        return list(rows)
    return sorted(rows, key=lambda row: busy(row[1]), reverse=True)[:most]


def _drops(rows: Sequence[tuple[str, Json]]) -> list[RenderableType]:
    """A line for each that drops something, with the places."""
    return [
        Text(f"  {name} drops " + ", ".join(f"{place} {number(rate)}/s" for place, rate in drops.items()))
        for name, one in rows
        if (drops := one["drops_per_s"])
    ]


def _rest(count: int, what: str) -> list[RenderableType]:
    return [_dim(f"and {count} {what}{'s'[: count != 1]}")] if count else []


def _dim(text: str) -> Text:
    return Text(text, style="dim")


def _bar(network: Json, width: int) -> str:
    if network["rate_mbps"] is None or network["mbps"] is None:
        return ""
    filled: int = min(round(width * network["mbps"] / network["rate_mbps"]), width)
    return "#" * filled + "." * (width - filled)


def _hogs(host: Json) -> str:
    if not host["hogs"]:
        return "-" if host["hogs"] is None else "0"
    return f"{host['hogs']}: {number(host['cpu']['hogs'])}"


def _bytes(count: int) -> str:
    for unit, size in (("M", 1 << 20), ("K", 1 << 10)):
        if count >= size:
            return f"{count / size:.1f}{unit}"
    return str(count)
