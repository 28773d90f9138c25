"""What a user writes: the models of an experiment's document, from which its JSON Schema is made."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    WithJsonSchema,
)

from orchestrator.experiments.case import MAX_RATE_MBPS, SINK_QUEUE
from orchestrator.experiments.definitions import Strict
from orchestrator.experiments.systems import SYSTEMS
from orchestrator.experiments.way import PORT
from topologies.model import NAME_PATTERN

MAX_LEVELS, MAX_FACTORS, MAX_COMBINATIONS, MAX_WORKLOADS, MAX_EVENTS = 64, 8, 1000, 64, 64
MAX_TRIALS = 1000
HEADER_BYTES, LARGEST_BYTES = 28, 65507
"""What a source writes into each datagram, and what fits into one."""


def _known_system(value: str) -> str:
    if value not in SYSTEMS:
        raise ValueError(f"must be one of {', '.join(SYSTEMS)}")
    return value


def _one_line(value: Any) -> Any:
    # In YAML `- at 5s: hogs=2` is a mapping of one entry, and meant as a line.
    if isinstance(value, dict) and len(value) == 1:
        ((key, rest),) = value.items()
        return f"{key}: {rest}"
    return value


def _level(value: Any) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number and not (isinstance(value, str) and 1 <= len(value) <= 64):
        raise ValueError("must be a number or a word")
    return value


def _text_or_mapping(value: Any) -> str:
    return "text" if isinstance(value, str) else "mapping"


def _list_or_mapping(value: Any) -> str:
    return "list" if isinstance(value, list) else "mapping"


Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
System = Annotated[
    str, AfterValidator(_known_system), WithJsonSchema({"type": "string", "enum": list(SYSTEMS)})
]
Rate = Annotated[
    float, Field(strict=True, gt=0, le=100_000, allow_inf_nan=False, description="Mb/s of payload, 10^6 bits")
]
Size = Annotated[
    int, Field(strict=True, ge=HEADER_BYTES, le=LARGEST_BYTES, description="bytes of payload in a datagram")
]
Queue = Annotated[int, Field(strict=True, ge=1, le=65536, description="datagrams that may wait")]
Port = Annotated[int, Field(strict=True, ge=1, le=65535, description="UDP port it listens at")]
Seconds = Annotated[float, Field(strict=True, ge=0.1, le=3600, allow_inf_nan=False)]
Fraction = Annotated[float, Field(strict=True, gt=0, le=1, allow_inf_nan=False)]
Level = Annotated[
    Any,
    AfterValidator(_level),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string", "minLength": 1, "maxLength": 64}]}),
]
Address = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Levels = Annotated[list[Level], Field(min_length=1, max_length=MAX_LEVELS)]
Measure = Literal["throughput", "datagrams", "loss"]
MAIN_MEASURE: Measure = "throughput"
Line = Annotated[
    str,
    BeforeValidator(_one_line),
    StringConstraints(max_length=200),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "object", "minProperties": 1, "maxProperties": 1},
            ],
            "examples": ["at 5s: hogs=2", "at 10s: cut ring-b"],
        }
    ),
]
To = Annotated[Name, Field(description="the workload that its datagrams go to")]
Via = Annotated[
    Name | None, Field(description="the network to send on, where its host shares several with the next")
]


class Source(Strict):
    """Sends numbered datagrams at a steady rate."""

    workload: Literal["source"]
    host: Name
    to: To
    via: Via = None
    system: System = "linux-batch"
    rate: Rate | None = None
    size: Size | None = None


class Forwarder(Strict):
    """Passes on what it receives."""

    workload: Literal["forwarder"]
    host: Name
    to: To
    via: Via = None
    system: System = "linux"
    queue: Queue = 1024
    port: Port = PORT


class Sink(Strict):
    """Counts what arrives, by sequence number."""

    workload: Literal["sink"]
    host: Name
    system: System = "linux-batch"
    queue: Queue = SINK_QUEUE
    port: Port = PORT


Workload = Annotated[Source | Forwarder | Sink, Field(discriminator="workload")]


class Host(Strict):
    """What else happens on a host. `cpu`: its work gets this much CPU time, 0.05 is 5 % of one CPU."""

    hogs: Annotated[int, Field(strict=True, ge=0, le=64, description="competing processes")] = 0
    cpu: Annotated[float, Field(strict=True, ge=0.002, le=64, allow_inf_nan=False)] | None = None


class Network(Strict):
    """A network's rate in the experiment, where it is not the topology's, and the fraction of packets that it
    loses on purpose. The same seed of the topology loses the same ones in every trial."""

    rate: Annotated[float, Field(strict=True, ge=1, le=MAX_RATE_MBPS, allow_inf_nan=False)] | None = None
    loss: Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)] | None = None


class Until(Strict):
    """When there have been enough trials: once the 95 % interval is narrower than `width`, a fraction of the
    median (of loss: a fraction of what was sent)."""

    measure: Measure = "throughput"
    width: Fraction


class Plan(Strict):
    """How often and how long, in seconds. With `until`, `trials` are the most. Combinations that differ in
    the factor `alternate` alone are measured side by side."""

    trials: Annotated[int, Field(strict=True, ge=1, le=MAX_TRIALS)] = 5
    until: Until | None = None
    warmup: Seconds = 0.5
    duration: Seconds = 2.0
    drain: Seconds = 2.0
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**53)] | None = None
    alternate: Address = "system"


class Search(Strict):
    """Look for the highest rate whose trials lose no more than `loss`, a fraction, in the way of RFC 2544.

    A trial passes when it is valid and loses no more. A rate has failed when it did so `attempts` times in a
    row. The search doubles from `start` and then halves the gap until it is `resolution` of the rate.
    """

    loss: Annotated[float, Field(strict=True, ge=0, lt=1, allow_inf_nan=False)] = 0.0
    start: Rate = 100.0
    least: Rate = 1.0
    most: Rate = 10_000.0
    resolution: Annotated[float, Field(strict=True, ge=0.001, le=1, allow_inf_nan=False)] = 0.05
    attempts: Annotated[int, Field(strict=True, ge=1, le=10)] = 2


class Figure(Strict):
    """The factor along the axis, the factor that has a bar or line for each level, and the measure."""

    x: Address | None = None
    lines: Address | None = None
    y: Measure | None = None


class Document(Strict):
    """An experiment: datagrams on their way through a lab, what is varied, and how it is measured."""

    name: Name
    title: Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""
    topology: Annotated[
        Annotated[str, Tag("text")] | Annotated[dict[str, Any], Tag("mapping")],
        Discriminator(_text_or_mapping),
        Field(description="a shipped topology's name ('two-fddi', 'chain,5') or a topology itself"),
    ]
    workloads: Annotated[dict[Name, Workload], Field(min_length=2, max_length=MAX_WORKLOADS)]
    hosts: Annotated[dict[Name, Host], Field(max_length=1000, default_factory=dict)]
    networks: Annotated[dict[Name, Network], Field(max_length=1000, default_factory=dict)]
    factors: Annotated[
        Annotated[dict[Address, Levels], Field(max_length=MAX_FACTORS), Tag("mapping")]
        | Annotated[
            list[Annotated[dict[Address, Level], Field(min_length=1, max_length=MAX_FACTORS)]],
            Field(min_length=1, max_length=MAX_COMBINATIONS),
            Tag("list"),
        ],
        Discriminator(_list_or_mapping),
        Field(
            description="every combination of these levels, or a list of combinations; a factor is `system`, "
            "`hogs`, `cpu`, `rate`, `size` or `queue`, or one of these of a workload, host or network: "
            "`relay.system`, `middle.hogs`, `ring-b.rate`",
            default_factory=dict,
        ),
    ]
    plan: Plan = Plan()
    events: Annotated[list[Line], Field(max_length=MAX_EVENTS, default_factory=list)]
    search: Search | None = None
    measures: Annotated[
        list[Measure], Field(min_length=1, max_length=3, default_factory=lambda: [MAIN_MEASURE])
    ]
    figure: Figure = Figure()

    @property
    def source(self) -> str:
        """Where it was published: nowhere."""
        return ""
