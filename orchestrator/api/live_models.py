"""The live feed on the wire: a lab as it is now. Rates are null in the first sample, and where they are not
known: a counter fell, or a host's agent does not answer."""

from typing import Annotated, Literal

from pydantic import Field

from orchestrator.api.models import Model

Rate = Annotated[float | None, Field(ge=0)]


class CpuNow(Model):
    """CPUs that a host uses: its I/O path, its hogs, its agent."""

    io: Rate
    hogs: Rate
    agent: Rate


class WorkloadNow(Model):
    """A workload that runs. Operations and frames on local channels count as datagrams do."""

    id: str
    workload: str
    system: str
    state: Literal["starting", "running", "done", "failed"]
    mbps_in: Rate
    mbps_out: Rate
    datagrams_in_per_s: Rate
    datagrams_out_per_s: Rate
    loss: Annotated[
        float | None, Field(ge=0, le=1, description="of what its sources send; null: not a sink's")
    ]
    lost: Annotated[
        int | None, Field(description="of all since it started, or on its way; null: not a sink's")
    ]


class HostNow(Model):
    """A host. `idle`: it was never used. What only its agent knows is null while that cannot say."""

    state: Literal["running", "stopped", "failed", "idle"]
    hogs: Annotated[int | None, Field(description="that run")]
    cpu: CpuNow
    containers: Annotated[dict[str, int] | None, Field(description="by state; none without our stack")]
    rings: Annotated[dict[str, int] | None, Field(description="what waits in each")]
    drops_per_s: Annotated[dict[str, float] | None, Field(description="by place; only where there are any")]
    workloads: list[WorkloadNow] | None


class LinkNow(Model):
    """A host's link to a network; `to` and `from` the host."""

    state: Literal["running", "cut"]
    mbps_to: Rate
    mbps_from: Rate


class NetworkNow(Model):
    """A network."""

    state: Literal["running", "cut"]
    rate_mbps: float | None
    medium: str
    mbps: Annotated[Rate, Field(description="whole frames that leave it to its stations and trunks")]
    backlog_bytes: int
    drops_per_s: Annotated[dict[str, float] | None, Field(description="by place; only where there are any")]
    loss: Annotated[float, Field(description="the fraction of frames that it is to lose")]
    links: Annotated[dict[str, LinkNow], Field(description="by host")]


class LiveSample(Model):
    """A lab as it is at a moment, with rates over the seconds before it."""

    lab: str
    at: Annotated[float, Field(description="Unix time")]
    over_s: float | None
    hosts: dict[str, HostNow]
    networks: dict[str, NetworkNow]


class LiveEnd(Model):
    """The lab is no more; nothing comes after this."""

    lab: str
    state: Literal["destroyed", "failed"]


LIVE_EVENTS: dict[str, type[Model]] = {"sample": LiveSample, "lab": LiveEnd}
