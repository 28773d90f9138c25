"""Two runs side by side, for people."""

from rich.console import Console
from rich.text import Text

from orchestrator.cli.tables import number, table
from orchestrator.experiments.compare import Compared, Comparison
from orchestrator.experiments.result import told

COLOURS = {"higher": "green", "lower": "red", "cannot tell": ""}


def print_comparison(found: Comparison, out: Console) -> None:
    """The rows, the ratios, why nothing can be told where nothing can, and the warnings."""
    out.print(Text(f"{found.experiment}: A = {found.a}, B = {found.b}", style="bold"))
    rows = [(f"{row.system}, {told(row.factors)}".rstrip(", "), row.value) for row in found.rows]
    ratios = [(f"{one.of} / {one.to}, {told(one.factors)}".rstrip(", "), one.value) for one in found.ratios]
    for title, lines in (("row", rows), ("ratio", ratios)):
        if lines:
            out.print()
            _print(title, lines, out)
    reasons: dict[str, int] = {}
    for _, value in rows + ratios:
        if value.why:
            reasons[value.why] = reasons.get(value.why, 0) + 1
    out.print()
    for why, count in reasons.items():
        out.print(Text(f"- cannot tell ({count}): {why}"))
    for warning in found.warnings:
        out.print(Text(f"- {warning}", style="yellow"))


def _print(title: str, lines: list[tuple[str, Compared]], out: Console) -> None:
    shown = table(title, ">A", ">B", ">B / A [95 %]", "B is")
    for name, value in lines:
        low, high = value.ratio_ci95 or (None, None)
        interval = "" if value.ratio_ci95 is None else f" [{number(low)}, {number(high)}]"
        shown.add_row(
            name,
            number(value.a),
            number(value.b),
            number(value.ratio) + interval,
            Text(value.finding, style=COLOURS[value.finding]),
        )
    out.print(shown)
