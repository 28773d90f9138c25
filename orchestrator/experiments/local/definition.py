"""Experiments within one host as data: the rows to measure, what the paper says of them, what is claimed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from orchestrator.experiments.definitions import Level, Positive, Profile, Strict, shipped

Levels = dict[str, Annotated[list[Level], Field(min_length=1)]]
PROFILE: Profile = "period"
"""The one profile: the sizes and limits of the paper, on the whole machine."""


@dataclass(frozen=True)
class Cell:
    """One row of the table: a system with a level of every factor."""

    system: str
    factors: Mapping[str, Level]
    published: float | None


class Rows(Strict):
    """Rows of the table: every combination of these systems and levels, and the value that the paper gives
    for each. A `note` says what the paper has instead of a number, or how to read it."""

    systems: Annotated[list[str], Field(min_length=1)]
    factors: Levels = Field(default_factory=dict)
    published: Positive | None = None
    note: str = ""

    def cells(self) -> Iterator[Cell]:
        """One for each row; the factor named first changes slowest."""
        for levels in product(*self.factors.values()):
            for system in self.systems:
                yield Cell(system, dict(zip(self.factors, levels, strict=True)), self.published)


class Pair(Strict):
    """One system to another wherever both are measured with these factors (any level of those not named)."""

    of: str
    to: str
    factors: Levels = Field(default_factory=dict)

    def covers(self, of: str, to: str, factors: Mapping[str, Level]) -> bool:
        """Whether this speaks of that ratio."""
        return (of, to) == (self.of, self.to) and all(
            factors.get(name) in levels for name, levels in self.factors.items()
        )


class Compared(Pair):
    """A ratio of the table, and what the paper gives for it."""

    published: Positive | None = None


class AtLeast(Pair):
    """A claim: the ratio is at least so much."""

    at_least: Positive


class Grows(Pair):
    """A claim: the ratio grows with this factor."""

    along: str

    @model_validator(mode="after")
    def _free(self) -> Grows:
        if self.along in self.factors:
            raise ValueError(f"{self.along}: a factor cannot be both held and grown along")
        return self


class Drawn(Strict):
    """How the figure shows the factors: one along the axis; the others make a panel for each combination."""

    across: str | None = None
    label: str = ""


class LocalDefinition(Strict):
    """One experiment within one host. `scene` says which workloads perform it. Where an operation is a
    frame, its size is a factor's."""

    kind: Literal["local"]
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
    title: str
    source: str
    topology: str
    host: str
    scene: Literal["ipc", "video", "cp"]
    unit: str
    operation_bytes: Annotated[int, Field(ge=64, le=16 << 20)] | None = None
    rows: Annotated[list[Rows], Field(min_length=1)]
    ratios: list[Compared]
    claims: list[AtLeast | Grows]
    figure: Drawn

    @model_validator(mode="after")
    def _consistent(self) -> LocalDefinition:
        cells = [cell for group in self.groups() for cell in group]
        keys = [(cell.system, tuple(cell.factors.items())) for cell in cells]
        if len(set(keys)) != len(keys):
            raise ValueError("a row is there twice")
        if len({tuple(cell.factors) for cell in cells}) != 1:
            raise ValueError("the rows have different factors")
        made = list(self.compared())
        for claim in self.claims:
            if not any(claim.covers(of, to, factors) for of, to, factors, _ in made):
                raise ValueError(f"{claim.of} to {claim.to}: a claim on a ratio that is not made")
        return self

    @property
    def systems(self) -> list[str]:
        """The systems compared, in the order of the rows."""
        return list(dict.fromkeys(system for rows in self.rows for system in rows.systems))

    @property
    def topologies(self) -> dict[Profile, str]:
        """The shipped topology for each profile there is."""
        return {PROFILE: self.topology}

    def groups(self) -> list[list[Cell]]:
        """The rows of the table in order, and together those with the same factors, which are compared."""
        found: dict[tuple[Any, ...], list[Cell]] = {}
        for rows in self.rows:
            for cell in rows.cells():
                found.setdefault(tuple(cell.factors.items()), []).append(cell)
        return list(found.values())

    def compared(self) -> Iterator[tuple[str, str, Mapping[str, Level], float | None]]:
        """Every ratio: of, to, factors, and the published value."""
        for ratio in self.ratios:
            for group in self.groups():
                factors = group[0].factors
                if {ratio.of, ratio.to} <= {cell.system for cell in group} and ratio.covers(
                    ratio.of, ratio.to, factors
                ):
                    yield ratio.of, ratio.to, factors, ratio.published


LOCAL: dict[str, LocalDefinition] = shipped("local", LocalDefinition)
"""The shipped experiments within one host, by name."""
