"""Results for people: published and measured side by side, in 60 columns if need be."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

Json = dict[str, Any]
COLOURS = {"reproduced": "green", "not reproduced": "yellow", "invalid": "red"}


def console() -> Console:
    """Standard output; plain where it is no terminal."""
    return Console(highlight=False, soft_wrap=False)


def table(*columns: str) -> Table:
    """An empty table in the house style; columns named with a leading '>' are numbers."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        number = column.startswith(">")
        made.add_column(column.lstrip(">"), justify="right" if number else "left", no_wrap=number)
    return made


def number(value: float | None) -> str:
    """A measurement with three digits that matter; '-' for none."""
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def with_interval(median: float | None, ci95: list[float] | None) -> str:
    """A median and its 95 % interval."""
    return number(median) + (
        f" [{number(ci95[0])}, {number(ci95[1])}]" if median is not None and ci95 else ""
    )


def print_result(result: Json, directory: Path | None, out: Console) -> None:
    """A result of `reproduce` or `bench`: rows, ratios, verdict, and where the figure is."""
    units = sorted({str(row.get("unit", "")) for row in result["rows"]})
    heading = f"{result.get('experiment') or result.get('benchmark')}"
    if result.get("profile"):
        heading += f", profile {result['profile']}"
    if len(units) == 1 and units[0]:
        heading += f", {units[0]}"
    out.print(Text(heading, style="bold"))
    out.print(_rows(result["rows"], units))
    if result.get("ratios"):
        out.print()
        out.print(_ratios(result["ratios"]))
    out.print()
    verdict = result.get("verdict")
    if verdict:
        out.print(Text(f"verdict: {verdict}", style=COLOURS.get(verdict, "")))
    for note in result.get("environment", {}).get("notes", []):
        out.print(Text(f"- {note}"))
    if result.get("figure"):
        figure = directory / Path(result["figure"]).name if directory else Path(result["figure"])
        print(f"figure: {figure}")  # never folded, so that it can be copied


def _rows(rows: list[Json], units: list[str]) -> Table:
    factors = _names(rows)
    several = len(units) > 1
    invalid = any(row.get("invalid_trials") for row in rows)
    losses = any(row.get("loss") is not None for row in rows)
    made = table(
        "system",
        *(f">{name}" for name in factors),
        ">paper",
        ">measured [95 %]",
        *([">loss"] if losses else []),
        *([">invalid"] if invalid else []),
        *(["unit"] if several else []),
    )
    for row in rows:
        loss = row.get("loss")
        made.add_row(
            str(row["system"]),
            *(str(row["factors"].get(name, "")) for name in factors),
            number(row.get("published")),
            with_interval(row.get("median"), row.get("ci95")),
            *(["-" if loss is None else f"{100 * loss:.1f} %"] if losses else []),
            *([f"{row.get('invalid_trials', 0)}/{row['trials']}"] if invalid else []),
            *([str(row.get("unit", ""))] if several else []),
        )
    return made


def _ratios(ratios: list[Json]) -> Table:
    factors = _names(ratios)
    made = table("ratio", *(f">{name}" for name in factors), ">paper", ">measured [95 %]")
    for row in ratios:
        made.add_row(
            f"{row['of']} / {row['to']}",
            *(str(row["factors"].get(name, "")) for name in factors),
            number(row.get("published")),
            with_interval(row.get("median"), row.get("ci95")),
        )
    return made


def _names(rows: list[Json]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row["factors"]))
