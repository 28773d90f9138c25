"""The data of server-sent events, by kind."""

from typing import Annotated, Any, Literal

from pydantic import Field

from orchestrator.api.models import LabState, Model, Progress, RunState


class LabEvent(Model):
    """A lab has another state; `destroyed` is the last that is heard of it."""

    lab: str
    state: LabState | Literal["destroyed"]
    message: str


class NetworkEvent(Model):
    """A network has another rate or other impairments (`changed`), or was cut or healed: the whole of it, or
    a host's link to it."""

    lab: str
    network: str
    host: str | None
    state: Literal["changed", "cut", "healed"]
    rate_mbps: float | None = None
    loss: float | None = None
    seed: int | None = None
    delay_ms: float | None = None
    jitter_ms: float | None = None


class HostEvent(Model):
    """A host was stopped or started again."""

    lab: str
    host: str
    state: Literal["running", "stopped"]


class HogsEvent(Model):
    """Somebody had so many CPU hogs compete on a host. (A run's own are told with its trials.)"""

    lab: str
    host: str
    hogs: int


class AgentEvent(Model):
    """The agent of a host has begun, or has failed: it died, or hung and was killed. `message` says why."""

    lab: str
    host: str
    state: Literal["running", "failed"]
    message: str


class RunEvent(Model):
    """A run has another state. `progress` is there when it tells a follower how the run is now."""

    run: str
    state: RunState
    message: str
    verdict: str | None
    progress: Progress | None = None


class ProgressEvent(Model):
    """How far a run is; `trial` is the last that ended, `happened` an event of the time line of the one under
    way."""

    run: str
    phase: str
    done: int
    total: int
    seconds_left: float | None = None
    trial: Annotated[dict[str, Any] | None, Field(description="the values worth showing of it")] = None
    happened: str | None = None


class MachineEvent(Model):
    """A machine agent has another state."""

    machine: str
    state: str
    message: str


class GapEvent(Model):
    """Events were missed: what is known from them must be read anew."""

    message: str


EVENTS: dict[str, type[Model]] = {
    "lab": LabEvent,
    "network": NetworkEvent,
    "host": HostEvent,
    "hogs": HogsEvent,
    "agent": AgentEvent,
    "run": RunEvent,
    "progress": ProgressEvent,
    "machine": MachineEvent,
    "gap": GapEvent,
}
