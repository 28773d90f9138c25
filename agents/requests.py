"""What agents may be asked: the models that every request's body must fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from agents.tokens import Tokens
from topologies.model import Impairments

MAX_HOGS = 64
SPEC_LIMIT = 32 << 10
"""Bytes of a workload's specification: it must fit into the pipe to the workload at once."""

MIN_MBPS, MAX_MBPS = 0.001, 40_000.0
"""Rates that a source can be given while it runs: what a control block's word can say at any size."""
MIN_SIZE, MAX_SIZE = 28, 65507
"""Bytes in a source's datagrams: its header (TS_HEADER_BYTES), and all that UDP can carry."""

MIN_SNAPLEN, SNAPLEN = 64, 262144
"""Bytes kept of each frame of a capture: at least the headers, at most more than there ever are."""

Word = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
"""The name of a workload or an I/O system."""

Argument = Annotated[str, StringConstraints(max_length=4096, pattern=r"^[^\x00]*$")]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class WorkloadSpec(_Request):
    """A workload to start. `params` are the workload's own, which it checks itself.

    `sample_s`: how often its counters are written down, for the series in its final state.
    """

    workload: Word
    system: Word = "linux"
    params: dict[str, Any] = Field(default_factory=dict)
    sample_s: Annotated[float, Field(ge=0.05, le=60, allow_inf_nan=False)] | None = None

    @field_validator("workload")
    @classmethod
    def _not_ours(cls, name: str) -> str:
        if name in ("hog", "manager"):
            raise ValueError(
                "hogs are set through the host's hogs, and a manager starts with the workloads that need it"
            )
        return name

    @model_validator(mode="after")
    def _small(self) -> Self:
        if len(json.dumps(self.params)) > SPEC_LIMIT - 1024:
            raise ValueError(f"params are longer than {SPEC_LIMIT - 1024} bytes of JSON")
        return self


class Command(_Request):
    """A line for a running workload, such as {"command": "expect", "count": 1000}."""

    model_config = ConfigDict(extra="allow", strict=True)

    command: Word

    @model_validator(mode="after")
    def _small(self) -> Self:
        if self.command == "stop":
            raise ValueError("a workload is stopped with DELETE")
        if len(self.model_dump_json()) > 4096:
            raise ValueError("a command is longer than 4096 bytes of JSON")
        return self


class Change(_Request):
    """What of a source changes while it runs; what is left out stays."""

    rate_mbps: Annotated[float, Field(ge=MIN_MBPS, le=MAX_MBPS, allow_inf_nan=False)] | None = None
    size: Annotated[int, Field(ge=MIN_SIZE, le=MAX_SIZE)] | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.rate_mbps is None and self.size is None:
            raise ValueError("nothing to change: give rate_mbps or size")
        return self


class HogCount(_Request):
    """How many CPU hogs compete on a host."""

    count: int = Field(ge=0, le=MAX_HOGS)


class Budget(_Request):
    """CPU time of a host's work: `quota_us` microseconds in each `period_us`; no quota: no limit."""

    quota_us: int | None = Field(ge=1000, le=1_000_000_000)  # the kernel's own floor
    period_us: int = Field(default=100_000, ge=1000, le=1_000_000)


class NetworkChange(_Request):
    """A network's new rate in Mb/s; null: not shaped. Without impairments those it has stay."""

    rate_mbps: Annotated[float, Field(ge=1, le=10_000, allow_inf_nan=False)] | None
    impairments: Impairments | None = None


class Execution(_Request):
    """A command to run on a host, without a shell."""

    argv: list[Argument] = Field(min_length=1, max_length=64)

    @field_validator("argv")
    @classmethod
    def _program(cls, argv: list[str]) -> list[str]:
        if not argv[0]:
            raise ValueError("the program's name is empty")
        return argv


class Interfaces(_Request):
    """A host's interfaces, when they have changed: those of its `HostSetup`."""

    interfaces: list[dict[str, Any]]


class Capture(_Request):
    """A capture: of which interface of the namespace, how it is called in the file, and how much.

    `limit` frames (none: until it is ended), and of each at most `snaplen` bytes.
    """

    interface: str
    description: str
    limit: Annotated[int, Field(ge=1, le=1 << 53)] | None = None
    snaplen: int = Field(default=SNAPLEN, ge=MIN_SNAPLEN, le=SNAPLEN)


class TerminalSize(_Request):
    """Of a console, in characters."""

    rows: int = Field(default=24, ge=1, le=1000)
    columns: int = Field(default=80, ge=1, le=1000)


class Console(_Request):
    """A console: what its shell is told of the terminal it has."""

    terminal: str = Field(default="xterm-256color", pattern=r"^[A-Za-z0-9][A-Za-z0-9.+-]{0,31}$")


class Attendance(_Request):
    """Where a process that attends a person works, and what it does there; `parent` started it.

    `cgroup` is the host's, None in the lab's own namespace; `name` is how the machine is called there.
    """

    model_config = ConfigDict(extra="forbid")

    parent: int
    namespace: Path
    cgroup: str | None
    name: str
    task: dict[str, Any]


class HostSetup(_Request):
    """What a machine agent tells a host agent on its standard input, first of all."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["host agent"] = "host agent"
    lab: Word
    host: Word
    namespace: Path
    cgroup: str
    run_dir: Path
    interfaces: list[dict[str, Any]]
    workload_command: list[str] = Field(min_length=1)
    tokens: Tokens = Field(default_factory=Tokens.fresh)
