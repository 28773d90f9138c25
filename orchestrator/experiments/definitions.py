"""Experiments as data: what is swept, what the paper published, what counts as reproduced."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

Profile = Literal["period", "scaled", "modern"]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Level = str | int | float
"""What a factor is set to."""
Hogs = Annotated[int, Field(ge=0, le=64)]
D = TypeVar("D", bound="Strict")
HERE = Path(__file__).parent


class Strict(BaseModel):
    """Base of every model here: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DataPath(Strict):
    """The hosts and networks a datagram crosses, by their names in the topology."""

    source: str
    ring_in: str
    forwarder: str
    ring_out: str
    sink: str


class Published(Strict):
    """What the paper says of one system at one load.

    `fraction_of_ring` is the paper's own form of most values; `times` derives one from the published ratio
    to another system's value; a `note` alone stands where the paper gives no number.
    """

    system: str
    hogs: Hogs
    throughput_mbps: Positive | None = None
    fraction_of_ring: Positive | None = None
    times: str | None = None
    loss: Annotated[float, Field(ge=0, le=1)] | None = None
    note: str = ""


class PublishedRatio(Strict):
    """The paper's ratio between two systems at some loads."""

    of: str
    to: str
    hogs: list[Hogs]
    value: Positive


class Claim(Strict):
    """What must be seen to call it reproduced: the ratio at every loaded level, and no loss without
    load."""

    of: str
    to: str
    at_least: Positive
    lossless_hogs: Hogs


class Definition(Strict):
    """One experiment. Rates are payload bits in Mb/s, except `ring_mbps`, the medium's own rate.

    `topologies` names the shipped topology that each profile deploys.
    """

    kind: Literal["forwarding"]
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
    title: str
    source: str
    topologies: dict[Profile, str]
    path: DataPath
    ring_mbps: Positive
    datagram_bytes: Annotated[int, Field(ge=64, le=65507)]
    offered_mbps: Positive
    systems: Annotated[list[str], Field(min_length=1)]
    hogs: Annotated[list[Hogs], Field(min_length=1)]
    modern_hogs: Annotated[list[Hogs], Field(min_length=1)]
    wire_system: str
    published: list[Published]
    published_ratios: list[PublishedRatio]
    ratios: list[tuple[str, str]]
    claim: Claim

    @model_validator(mode="after")
    def _consistent(self) -> Definition:
        known = set(self.systems)
        named = {p.system for p in self.published} | {p.times for p in self.published if p.times}
        named |= {name for pair in self.ratios for name in pair} | {self.claim.of, self.claim.to}
        named |= {name for ratio in self.published_ratios for name in (ratio.of, ratio.to)}
        if unknown := named - known:
            raise ValueError(f"{', '.join(sorted(unknown))}: not among the systems")
        if missing := [profile for profile in get_args(Profile) if profile not in self.topologies]:
            raise ValueError(f"{', '.join(missing)}: no topology for this profile")
        for values in (self.systems, self.hogs, self.modern_hogs):
            if len(set(values)) != len(values):
                raise ValueError(f"{values} names something twice")
        if (self.claim.of, self.claim.to) not in self.ratios:
            raise ValueError("the claim's ratio is not among the ratios")
        return self

    def topology_for(self, profile: Profile) -> str:
        """The name of the shipped topology that a run with this profile deploys."""
        return self.topologies[profile]

    def published_mbps(self, system: str, hogs: int) -> float | None:
        """The published throughput in Mb/s on the paper's ring, None where the paper has no number."""
        for row in self.published:
            if (row.system, row.hogs) != (system, hogs):
                continue
            if row.throughput_mbps is not None:
                return row.throughput_mbps
            if row.fraction_of_ring is not None:
                return round(row.fraction_of_ring * self.ring_mbps, 1)
            if row.times is not None:
                base, ratio = (
                    self.published_mbps(row.times, hogs),
                    self.published_ratio(system, row.times, hogs),
                )
                return None if base is None or ratio is None else round(base * ratio, 1)
        return None

    def published_ratio(self, of: str, to: str, hogs: int) -> float | None:
        """The published ratio, None where the paper has none."""
        for row in self.published_ratios:
            if (row.of, row.to) == (of, to) and hogs in row.hogs:
                return row.value
        return None


class Options(Strict):
    """How to execute an experiment. `trials` None: as the plan says; `seed` None: chosen and recorded."""

    profile: Profile = "period"
    trials: Annotated[int, Field(ge=1, le=1000)] | None = None
    quick: bool = False
    seed: Annotated[int, Field(ge=0, lt=2**53)] | None = None


def shipped(kind: str, model: type[D]) -> dict[str, D]:
    """The shipped experiments of one kind by name. Raises pydantic's ValidationError."""
    files = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(HERE.glob("*.yaml"))]
    return {one["name"]: model.model_validate(one) for one in files if one["kind"] == kind}


EXPERIMENTS: dict[str, Definition] = shipped("forwarding", Definition)
"""The shipped experiments that forward datagrams between two networks, by name."""
