"""Workloads and hogs on the wire."""

from typing import Annotated, Any, Literal

from pydantic import Field

from agents.requests import MAX_HOGS, MAX_MBPS, MAX_SIZE, MIN_MBPS, MIN_SIZE
from orchestrator.api.models import Model, Name

Kind = Literal["source", "forwarder", "sink", "producer", "consumer", "relay", "server", "display"]
Mbps = Annotated[
    float, Field(ge=MIN_MBPS, le=MAX_MBPS, allow_inf_nan=False, description="payload, 10^6 bits per second")
]
Size = Annotated[int, Field(ge=MIN_SIZE, le=MAX_SIZE)]


class WorkloadRequest(Model):
    """Start a workload on a host. Hogs are not started here: their number is set with PUT hogs."""

    workload: Kind
    system: Name = "linux"
    to: Annotated[
        str | None,
        Field(max_length=80, description="source, forwarder: HOST, HOST:PORT or ADDRESS:PORT; port 9000"),
    ] = None
    port: (
        Annotated[int, Field(ge=1, le=65535, description="it receives at, 9000; a source sends from")] | None
    ) = None
    network: (
        Annotated[Name, Field(description="forwarder, sink: it receives from, where there are several")]
        | None
    ) = None
    rate_mbps: Annotated[Mbps | None, Field(description="source")] = None
    size: Annotated[
        Size | None,
        Field(description="source: bytes in each datagram; others: in the largest that it takes, 65507"),
    ] = None
    duration_s: Annotated[
        float | None,
        Field(gt=0, le=1e6, allow_inf_nan=False, description="source: then it is done; null: until stopped"),
    ] = None
    params: Annotated[
        dict[str, Any],
        Field(
            default_factory=dict,
            description="more that the workload, or the manager that it makes start, takes",
        ),
    ]


class WorkloadChange(Model):
    """What of a running source to change; what is left out stays."""

    rate_mbps: Mbps | None = None
    size: Size | None = None


class ManagerView(Model):
    """The manager of a host's stack, which its workloads on our systems share."""

    id: str
    pid: int
    state: str
    message: str
    counters: dict[str, int]


class WorkloadView(Model):
    """A workload. What is per second is over the interval that the request took (`over_s`), else null."""

    id: str
    workload: str
    system: str
    state: Literal["starting", "running", "done", "failed"]
    message: str
    pid: int
    params: dict[str, Any]
    counters: dict[str, int]
    mbps_in: float | None
    mbps_out: float | None
    datagrams_in_per_s: float | None
    datagrams_out_per_s: float | None
    operations_in_per_s: Annotated[
        float | None, Field(description="of a local channel; a video's are its frames")
    ]
    operations_out_per_s: float | None
    loss: Annotated[float | None, Field(description="share of what its sources sent; null: not a sink's")]
    lost: Annotated[int | None, Field(description="of all that came since it started, or on its way")]
    result: dict[str, Any] | None
    manager: ManagerView | None


class WorkloadList(Model):
    """The workloads of a host that run, and the last that ended, oldest first."""

    workloads: list[WorkloadView]


class HogsRequest(Model):
    """How many CPU hogs compete on the host from now on."""

    count: Annotated[int, Field(ge=0, le=MAX_HOGS)]


class HogsView(Model):
    """The CPU hogs of a host: as many as asked for, and of these those that run."""

    count: int
    running: int
    pids: list[int]
