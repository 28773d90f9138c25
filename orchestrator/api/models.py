"""What REST clients send and receive. Unknown fields are errors; units are in the names."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

NAME_PATTERN = r"^[a-z][a-z0-9-]{0,30}$"
RUN_PATTERN = r"^[0-9]{8}-[0-9]{6}-[0-9a-f]{6}$"

Name = Annotated[str, Field(pattern=NAME_PATTERN, description="lower-case letter, then letters, digits, '-'")]
LabState = Literal["deploying", "ready", "changing", "failed", "destroying"]
RunState = Literal["queued", "running", "paused", "interrupted", "done", "invalid", "failed", "cancelled"]
Profile = Literal["period", "scaled", "modern"]
Rate = Annotated[float, Field(ge=1, le=10_000, allow_inf_nan=False, description="Mb/s, 1 to 10000")]


def _name_or_document(value: Any) -> str:
    # As pydantic itself would name the type in the place of an error.
    return "dict[str,any]" if isinstance(value, dict) else "str"


class Model(BaseModel):
    """Base of everything on the wire."""

    model_config = ConfigDict(extra="forbid", strict=True)


class FaultView(Model):
    """One fault in a document: where, in which line if it was text, and what is wrong."""

    place: str
    line: int | None = None
    message: str


class ProblemView(Model):
    """An error, as RFC 9457 has it, with the field at fault."""

    type: str
    title: str
    status: int
    detail: str
    field: str | None
    problems: Annotated[
        list[FaultView], Field(description="all faults of a document, where it has several")
    ] = []


class LabRequest(Model):
    """Deploy a topology as a lab of this name."""

    name: Name
    topology: Annotated[
        str | dict[str, Any],
        Field(description="a shipped topology's name ('two-fddi', 'chain,5') or a topology itself"),
    ]


class NetworkView(Model):
    """A network of a lab. `rate_mbps` null: not limited; `loss`: the fraction of frames that it loses; `cut`:
    nothing enters or leaves it."""

    name: str
    medium: str
    rate_mbps: float | None
    mtu: int
    loss: float
    seed: int
    delay_ms: float
    jitter_ms: float
    cut: bool
    ports: int


class LabView(Model):
    """A lab, and how far it is. `run` is the run that owns it and will destroy it."""

    name: str
    state: LabState
    message: str
    run: str | None
    created: str
    hosts: list[str]
    networks: list[NetworkView]
    topology: dict[str, Any]
    steering: Annotated[
        dict[str, Any], Field(description="on which CPUs receive work runs, and why if shared")
    ]


class LabList(Model):
    """All labs of this orchestrator."""

    labs: list[LabView]


class InterfaceView(Model):
    """A host's interface; `port`: the network's end of its cable; `cut`: nothing passes it."""

    name: str
    network: str | None
    mac: str
    address: str
    prefix: int
    mtu: int
    port: str
    cut: bool


class HostAgentView(Model):
    """What looks after a host's processes: started when first used, and again after it failed."""

    state: Literal["none", "running", "failed"]
    message: str


class HostView(Model):
    """An emulated workstation."""

    name: str
    lab: str
    state: Literal["running", "stopped"]
    namespace: str
    cpus: list[int] | None
    interfaces: list[InterfaceView]
    agent: HostAgentView


class CountersView(Model):
    """What a host (CPU by group, UDP, IP, softirq) or a network (by port or device) has counted so far."""

    counters: dict[str, int]


class ExecRequest(Model):
    """A command to run in a host: a program and its arguments, no shell."""

    argv: Annotated[list[str], Field(min_length=1, max_length=256)]


class ExecView(Model):
    """How the command ended. `exit` is its status, negative for a signal; long output is cut."""

    exit: int
    stdout: str
    stderr: str
    truncated: bool


class RunRequest(Model):
    """Execute an experiment. Without `lab` the run deploys its own and destroys it at the end."""

    experiment: Annotated[
        Annotated[str, Field(min_length=1, max_length=64), Tag("str")]
        | Annotated[dict[str, Any], Tag("dict[str,any]")],
        Discriminator(_name_or_document),
        Field(
            description="a shipped experiment's name ('fddi'), or an experiment of one's own, whose JSON "
            "Schema is served at /api/v1/experiments/schema"
        ),
    ]
    lab: Name | None = None
    profile: Profile = "period"
    trials: (
        Annotated[int, Field(ge=1, le=1000, description="per system and factor; null: as defined")] | None
    ) = None
    quick: Annotated[bool, Field(description="one short trial each")] = False
    seed: Annotated[int, Field(ge=0, le=2**53 - 1, description="of everything random in the run")] | None = (
        None
    )
    dry_run: Annotated[bool, Field(description="check it, and say how long it will take")] = False


class Progress(Model):
    """How far a run is: trials (or calibration steps) done, and the estimated time left."""

    phase: str
    done: int
    total: int
    seconds_left: float | None = None


class ImportView(Model):
    """Where a run was done that came as a file: on which machine, when that exported it, with which version;
    and when it came."""

    machine: str
    exported: str
    version: str
    imported: str


class RunView(Model):
    """A run. `verdict` is there once it is done; `directory` holds its files; `imported` is null for a run
    that was done here."""

    id: str
    experiment: str
    lab: str | None
    options: dict[str, Any]
    state: RunState
    message: str
    verdict: str | None
    created: str
    started: str | None
    finished: str | None
    progress: Progress | None
    directory: str
    imported: ImportView | None


class RunList(Model):
    """The newest runs first."""

    runs: list[RunView]


class ExperimentView(Model):
    """An experiment that can be run, with what the paper published."""

    name: str
    title: str
    source: str
    topologies: dict[str, str]
    systems: list[str]
    definition: dict[str, Any]


class ExperimentList(Model):
    """All experiments."""

    experiments: list[ExperimentView]


class SystemView(Model):
    """An I/O system: a way to move data."""

    name: str
    summary: str


class SystemList(Model):
    """All I/O systems."""

    systems: list[SystemView]


class TopologyView(Model):
    """A shipped topology."""

    name: str
    description: str
    topology: dict[str, Any]


class TopologyList(Model):
    """All shipped topologies."""

    topologies: list[TopologyView]


class MachineView(Model):
    """A computer that runs a machine agent."""

    name: str
    state: Literal["starting", "up", "down"]
    message: str
    pid: int | None
    cpus: int
    kernel: str


class MachineList(Model):
    """All machines."""

    machines: list[MachineView]


class HealthView(Model):
    """Whether this is a Transship orchestrator and how it is. `state` is its state directory."""

    service: Literal["transship"] = "transship"
    version: str
    status: Literal["ok", "degraded"]
    pid: int
    state: str
    machine: MachineView
    running: str | None
    queued: int


class ScrapeTarget(Model):
    """One entry of a Prometheus `http_sd` list."""

    targets: list[str]
    labels: dict[str, str]
