"""Metric families, and their samples as a page in Prometheus' text format 0.0.4.

A lab of a thousand hosts has some ten thousand samples, so a sample is one string, made once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class Family:
    """What samples of one name have in common. `help` is a sentence; docs/metrics.md is made of it."""

    name: str
    kind: Literal["counter", "gauge"]
    labels: tuple[str, ...]
    help: str


class Page:
    """The samples of `families`, those of one family together, as the format wants it."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._lines: dict[str, list[str]] = {family.name: [] for family in families}
        self._families = {family.name: family for family in families}

    def add(self, family: Family, labels: Iterable[str], value: float) -> None:
        """One sample; `labels` are the values of the family's."""
        pairs = ",".join(
            f'{name}="{_escaped(label)}"' for name, label in zip(family.labels, labels, strict=True)
        )
        self._lines[family.name].append(f"{family.name}{{{pairs}}} {value}")

    def text(self) -> bytes:
        """The page; families without a sample are left out."""
        parts = []
        for name, lines in self._lines.items():
            if lines:
                family = self._families[name]
                parts += [f"# HELP {name} {family.help}", f"# TYPE {name} {family.kind}", *lines]
        return ("\n".join(parts) + "\n").encode() if parts else b""


def table(families: Iterable[Family]) -> str:
    """The families for people, as docs/metrics.md has them."""

    def words(labels: Iterable[str]) -> str:
        return " ".join(f"`{label}`" for label in labels) or "-"

    rows = (f"| `{one.name}` | {one.kind} | {words(one.labels)} | {one.help} |" for one in families)
    return "\n".join(("| metric | type | labels | what |", "|---|---|---|---|", *rows))


def _escaped(label: str) -> str:
    if "\\" in label or '"' in label or "\n" in label:
        return label.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    return label
