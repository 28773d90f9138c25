"""Results for people: published and measured side by side, in 60 columns if need be."""

from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

Json = dict[str, Any]
COLOURS = {"reproduced": "green", "measured": "green", "not reproduced": "yellow", "invalid": "red"}


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


def _rows(rows: list[Json], units: list[str]) -> RenderableType:
    several = len(units) > 1
    invalid = any(row.get("invalid_trials") for row in rows)
    losses = any(row.get("loss") is not None for row in rows)
    published = _published(rows)
    columns = [
        *([">paper"] if published else []),
        ">measured [95 %]",
        *([">loss"] if losses else []),
        *([">invalid"] if invalid else []),
        *(["unit"] if several else []),
    ]
    lines = []
    for row in rows:
        loss = row.get("loss")
        cells = [
            *([number(row.get("published"))] if published else []),
            with_interval(row.get("median"), row.get("ci95")),
            *(["-" if loss is None else f"{100 * loss:.1f} %"] if losses else []),
            *([f"{row.get('invalid_trials', 0)}/{row['trials']}"] if invalid else []),
            *([str(row.get("unit", ""))] if several else []),
        ]
        lines.append((str(row["system"]), row["factors"], cells))
    return _sections("system", columns, lines)


def _ratios(ratios: list[Json]) -> RenderableType:
    published = _published(ratios)
    lines = [
        (
            f"{row['of']} / {row['to']}",
            row["factors"],
            [
                *([number(row.get("published"))] if published else []),
                with_interval(row.get("median"), row.get("ci95")),
            ],
        )
        for row in ratios
    ]
    return _sections("ratio", [*([">paper"] if published else []), ">measured [95 %]"], lines)


def _published(rows: list[Json]) -> bool:
    """Whether there is anything to show beside what was measured."""
    return any(row.get("published") is not None for row in rows)


def _sections(first: str, columns: list[str], lines: list[tuple[str, Json, list[str]]]) -> RenderableType:
    """Lines of (name, factors, cells) as a table. Of several factors only the last has a column; the others
    are headings, so that it fits into a narrow terminal."""
    names = list(dict.fromkeys(name for _, factors, _ in lines for name in factors))
    heads, column = names[:-1], names[-1:]
    sections: dict[str, list[list[str]]] = {}
    for name, factors, cells in lines:
        heading = ", ".join(f"{head} {factors[head]}" for head in heads if head in factors)
        levels = [str(factors.get(one, "")) for one in column]
        sections.setdefault(heading, []).append([name, *levels, *cells])
    titles = [first, *(f">{name}" for name in column), *columns]
    every = [[title.lstrip(">") for title in titles], *(row for part in sections.values() for row in part)]
    widths = [max(map(len, cells)) for cells in zip(*every, strict=True)]
    parts: list[RenderableType] = []
    for heading, rows in sections.items():
        made = table(*titles)
        made.show_header = not parts
        for one, width in zip(made.columns, widths, strict=True):
            one.min_width = width
        for row in rows:
            made.add_row(*row)
        parts += [Text(heading, style="italic"), made] if heading else [made]
    return Group(*parts)
