"""What a dashboard asks Prometheus."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Panel:
    """A panel with queries. `instant`: it asks for now and not over time."""

    board: str
    title: str
    exprs: tuple[str, ...]
    instant: bool

    def asked(self, chosen: Mapping[str, str]) -> Iterator[str]:
        """The queries with the variables replaced by what is chosen."""
        for expr in self.exprs:
            yield re.sub(r"\$(\w*[a-z]\w*)", lambda found: chosen[found[1]], expr)


def panels(text: str) -> list[Panel]:
    """The panels of a dashboard's file that ask for something."""
    board = json.loads(text)
    return [
        Panel(
            board["title"],
            panel["title"],
            tuple(target["expr"] for target in panel["targets"]),
            panel["targets"][0]["instant"],
        )
        for panel in board["panels"]
        if panel.get("targets")
    ]


@dataclass(frozen=True)
class Variable:
    """A choice among the values that a label has in some series; `several` at once."""

    name: str
    series: str
    label: str
    several: bool


def variables(text: str) -> list[Variable]:
    """The variables of a dashboard's file."""
    made: list[dict[str, Any]] = json.loads(text)["templating"].get("list", [])
    found = []
    for one in made:
        query = re.fullmatch(r"label_values\((.*), (\w+)\)", one["query"]["query"])
        assert query, one["query"]
        found.append(Variable(one["name"], query[1], query[2], one["multi"]))
    return found
