"""Every request of the REST API as a value: what is sent, and what comes back, typed by the API's own models.

Both clients are made of these, so each is said once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote, urlencode

from pydantic import BaseModel

from orchestrator.api import models
from orchestrator.api.change_models import ApplyRequest, ChangesView, NetworkRequest
from orchestrator.api.experiment_models import EstimateView
from orchestrator.api.workload_models import (
    HogsRequest,
    HogsView,
    Kind,
    WorkloadChange,
    WorkloadList,
    WorkloadRequest,
    WorkloadView,
)
from orchestrator.experiments.compare import Comparison
from orchestrator.experiments.result import Result

Json = dict[str, Any]
T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Call(Generic[T]):
    """A request, and how its answer is read."""

    method: str
    path: str
    read: Callable[[bytes], T]
    body: bytes | None = None
    content_type: str = "application/json"


def health() -> Call[models.HealthView]:
    """Whether an orchestrator is there, and how it is."""
    return Call("GET", _path("health"), _as(models.HealthView))


def machines() -> Call[list[models.MachineView]]:
    """All machines."""
    return Call("GET", _path("machines"), lambda found: _as(models.MachineList)(found).machines)


def systems() -> Call[list[models.SystemView]]:
    """All I/O systems."""
    return Call("GET", _path("systems"), lambda found: _as(models.SystemList)(found).systems)


def topologies() -> Call[list[models.TopologyView]]:
    """All shipped topologies."""
    return Call("GET", _path("topologies"), lambda found: _as(models.TopologyList)(found).topologies)


def experiments() -> Call[list[models.ExperimentView]]:
    """All experiments, with their definitions."""
    return Call("GET", _path("experiments"), lambda found: _as(models.ExperimentList)(found).experiments)


def labs() -> Call[list[models.LabView]]:
    """All labs."""
    return Call("GET", _path("labs"), lambda found: _as(models.LabList)(found).labs)


def lab(name: str) -> Call[models.LabView]:
    """One lab."""
    return Call("GET", _path("labs", name), _as(models.LabView))


def create_lab(name: str, topology: str | Json) -> Call[models.LabView]:
    """Begin to deploy a lab of a shipped topology's name, or of a topology."""
    body = models.LabRequest(name=name, topology=topology)
    return Call("POST", _path("labs"), _as(models.LabView), _body(body))


def destroy_lab(name: str) -> Call[models.LabView | None]:
    """Begin to destroy a lab; None if there is none."""
    return Call("DELETE", _path("labs", name), _maybe(models.LabView))


def host(lab: str, name: str) -> Call[models.HostView]:
    """One host of a lab."""
    return Call("GET", _path("labs", lab, "hosts", name), _as(models.HostView))


def counters(lab: str, host: str) -> Call[dict[str, int]]:
    """What a host has counted since it was deployed."""
    path = _path("labs", lab, "hosts", host, "counters")
    return Call("GET", path, lambda found: _as(models.CountersView)(found).counters)


def metrics(lab: str, host: str) -> Call[str]:
    """A host's metrics in Prometheus' text format."""
    return Call("GET", _path("labs", lab, "hosts", host, "metrics"), bytes.decode)


def lab_metrics(lab: str) -> Call[str]:
    """The metrics of all hosts and networks of a lab in Prometheus' text format."""
    return Call("GET", _path("labs", lab, "metrics"), bytes.decode)


def execute(lab: str, host: str, argv: Sequence[str]) -> Call[models.ExecView]:
    """Run a command in a host, without a shell."""
    body = _body(models.ExecRequest(argv=list(argv)))
    return Call("POST", _path("labs", lab, "hosts", host, "exec"), _as(models.ExecView), body)


def workloads(lab: str, host: str, over_s: float = 0.5) -> Call[list[WorkloadView]]:
    """The workloads of a host, with rates and loss over so many seconds."""
    path = _path("labs", lab, "hosts", host, "workloads", over_s=over_s)
    return Call("GET", path, lambda found: _as(WorkloadList)(found).workloads)


def start_workload(
    lab: str, host: str, workload: Kind, system: str = "linux", **more: Any
) -> Call[WorkloadView]:
    """Start a workload; `more` are the other fields of the request (WorkloadRequest)."""
    asked = WorkloadRequest(workload=workload, system=system, **more)
    return Call("POST", _path("labs", lab, "hosts", host, "workloads"), _as(WorkloadView), _body(asked))


def workload(lab: str, host: str, workload_id: str, over_s: float = 0.5) -> Call[WorkloadView]:
    """One workload, with rates and loss over so many seconds."""
    path = _path("labs", lab, "hosts", host, "workloads", workload_id, over_s=over_s)
    return Call("GET", path, _as(WorkloadView))


def change_workload(
    lab: str, host: str, workload_id: str, *, rate_mbps: float | None = None, size: int | None = None
) -> Call[WorkloadView]:
    """Change what a running source sends; None stays as it is."""
    asked = WorkloadChange(rate_mbps=rate_mbps, size=size)
    path = _path("labs", lab, "hosts", host, "workloads", workload_id)
    return Call("PATCH", path, _as(WorkloadView), _body(asked))


def stop_workload(lab: str, host: str, workload_id: str) -> Call[WorkloadView]:
    """Stop a workload; what it found is in the answer."""
    path = _path("labs", lab, "hosts", host, "workloads", workload_id)
    return Call("DELETE", path, _as(WorkloadView))


def picture(lab: str, host: str, workload_id: str, width: int | None = None) -> Call[bytes]:
    """What a display shows now, at most so wide, as the bytes of a PNG file."""
    query = {} if width is None else {"width": width}
    return Call("GET", _path("labs", lab, "hosts", host, "workloads", workload_id, "picture", **query), bytes)


def hogs(lab: str, host: str) -> Call[HogsView]:
    """The CPU hogs of a host."""
    return Call("GET", _path("labs", lab, "hosts", host, "hogs"), _as(HogsView))


def set_hogs(lab: str, host: str, count: int) -> Call[HogsView]:
    """Let so many CPU hogs compete on a host."""
    body = _body(HogsRequest(count=count))
    return Call("PUT", _path("labs", lab, "hosts", host, "hogs"), _as(HogsView), body)


def capture_interface(lab: str, host: str, interface: str, limit: int) -> Call[bytes]:
    """The next frames of a host's interface, as pcapng."""
    path = _path("labs", lab, "hosts", host, "interfaces", interface, "capture", limit=limit)
    return Call("GET", path, bytes)


def capture_network(lab: str, network: str, limit: int) -> Call[bytes]:
    """The next frames that cross a network, as pcapng."""
    return Call("GET", _path("labs", lab, "networks", network, "capture", limit=limit), bytes)


def network(lab: str, name: str) -> Call[models.NetworkView]:
    """One network of a lab."""
    return Call("GET", _path("labs", lab, "networks", name), _as(models.NetworkView))


def network_counters(lab: str, network: str) -> Call[dict[str, int]]:
    """What a network has counted, by port or device: frames, bytes, drops by name, what waits."""
    path = _path("labs", lab, "networks", network, "counters")
    return Call("GET", path, lambda found: _as(models.CountersView)(found).counters)


def set_network(
    lab: str,
    network: str,
    rate_mbps: float | None,
    *,
    loss: float = 0.0,
    seed: int = 0,
    delay_ms: float = 0.0,
    jitter_ms: float = 0.0,
) -> Call[models.NetworkView]:
    """Replace a network's rate (None: no limit) and impairments, without a gap."""
    asked = NetworkRequest(rate_mbps=rate_mbps, loss=loss, seed=seed, delay_ms=delay_ms, jitter_ms=jitter_ms)
    return Call("PUT", _path("labs", lab, "networks", network), _as(models.NetworkView), _body(asked))


def changes(lab: str, topology: str | Json) -> Call[ChangesView]:
    """What would change in a lab to make it what a topology says."""
    path = _path("labs", lab, dry_run="true")
    return Call("PUT", path, _as(ChangesView), _body(ApplyRequest(topology=topology)))


def apply(lab: str, topology: str | Json) -> Call[models.LabView]:
    """Begin to make a lab what a topology says, touching only the difference."""
    return Call("PUT", _path("labs", lab), _as(models.LabView), _body(ApplyRequest(topology=topology)))


def cut_network(lab: str, network: str) -> Call[models.NetworkView]:
    """Let nothing pass a network."""
    return Call("POST", _path("labs", lab, "networks", network, "cut"), _as(models.NetworkView))


def heal_network(lab: str, network: str) -> Call[models.NetworkView]:
    """Let everything pass a network again."""
    return Call("POST", _path("labs", lab, "networks", network, "heal"), _as(models.NetworkView))


def cut_link(lab: str, host: str, network: str) -> Call[models.InterfaceView]:
    """Let nothing pass a host's link to a network."""
    path = _path("labs", lab, "hosts", host, "links", network, "cut")
    return Call("POST", path, _as(models.InterfaceView))


def heal_link(lab: str, host: str, network: str) -> Call[models.InterfaceView]:
    """Let everything pass a host's link to a network again."""
    path = _path("labs", lab, "hosts", host, "links", network, "heal")
    return Call("POST", path, _as(models.InterfaceView))


def stop_host(lab: str, host: str) -> Call[models.HostView]:
    """Stop a host, and all that runs on it."""
    return Call("POST", _path("labs", lab, "hosts", host, "stop"), _as(models.HostView))


def start_host(lab: str, host: str) -> Call[models.HostView]:
    """Start a host again."""
    return Call("POST", _path("labs", lab, "hosts", host, "start"), _as(models.HostView))


def runs(limit: int = 100) -> Call[list[models.RunView]]:
    """The newest runs first."""
    return Call("GET", _path("runs", limit=limit), lambda found: _as(models.RunList)(found).runs)


def create_run(
    experiment: str | Json,
    *,
    lab: str | None = None,
    profile: models.Profile | None = None,
    trials: int | None = None,
    quick: bool = False,
    seed: int | None = None,
) -> Call[models.RunView]:
    """Queue a run of a shipped experiment, or of a document of one's own."""
    asked = _asked(experiment, profile, lab=lab, trials=trials, quick=quick, seed=seed)
    return Call("POST", _path("runs"), _as(models.RunView), asked)


def estimate(
    experiment: str | Json,
    *,
    profile: models.Profile | None = None,
    trials: int | None = None,
    quick: bool = False,
) -> Call[EstimateView]:
    """Check an experiment, and say how long a run of it will take."""
    asked = _asked(experiment, profile, trials=trials, quick=quick, dry_run=True)
    return Call("POST", _path("runs"), _as(EstimateView), asked)


def experiment_schema() -> Call[Json]:
    """The JSON Schema of an experiment of one's own."""
    return Call("GET", _path("experiments", "schema"), json.loads)


def run(run_id: str) -> Call[models.RunView]:
    """One run."""
    return Call("GET", _path("runs", run_id), _as(models.RunView))


def cancel_run(run_id: str) -> Call[models.RunView]:
    """Begin to cancel a run."""
    return Call("DELETE", _path("runs", run_id), _as(models.RunView))


def pause_run(run_id: str) -> Call[models.RunView]:
    """Begin to stop a run that shall go on later."""
    return Call("POST", _path("runs", run_id, "pause"), _as(models.RunView))


def resume_run(run_id: str) -> Call[models.RunView]:
    """Let a run go on; its finished trials are not done again."""
    return Call("POST", _path("runs", run_id, "resume"), _as(models.RunView))


def trials(run_id: str) -> Call[list[Json]]:
    """The trials so far, with all that is known of each."""
    return Call("GET", _path("runs", run_id, "trials"), _lines)


def series(run_id: str) -> Call[list[Json]]:
    """What happened within the trials, interval by interval."""
    return Call("GET", _path("runs", run_id, "series"), _lines)


def table(
    run_id: str, what: Literal["trials", "series"] = "trials", form: Literal["csv", "parquet"] = "parquet"
) -> Call[bytes]:
    """Trials or series as the bytes of a table."""
    return Call("GET", _path("runs", run_id, what, format=form), bytes)


def result(run_id: str) -> Call[Result]:
    """The result of a run that has ended."""
    return Call("GET", _path("runs", run_id, "result"), _as(Result))


def figure(run_id: str, form: Literal["png", "svg"] = "png") -> Call[bytes]:
    """The figure of a run that has ended."""
    return Call("GET", _path("runs", run_id, "figure", format=form), bytes)


def compare(a: str, b: str) -> Call[Comparison]:
    """What differs between two runs by more than their trials scatter."""
    return Call("GET", _path("runs", a, "comparison", b), _as(Comparison))


def export_run(run_id: str) -> Call[bytes]:
    """A run as one file."""
    return Call("GET", _path("runs", run_id, "archive"), bytes)


def import_run(content: bytes) -> Call[models.RunView]:
    """Take in a run that was exported."""
    return Call("POST", _path("imports"), _as(models.RunView), content, "application/zip")


def _path(*parts: str, **query: Any) -> str:
    path = "/".join(["/api/v1", *(quote(part, safe="") for part in parts)])
    return f"{path}?{urlencode(query)}" if query else path


def _body(model: BaseModel) -> bytes:
    return model.model_dump_json().encode()


def _asked(experiment: str | Json, profile: models.Profile | None, **options: Any) -> bytes:
    """The body of a request for a run. Only a shipped experiment has profiles, so one that was not given is
    not sent."""
    asked: Json = {"experiment": experiment, **options} | ({"profile": profile} if profile else {})
    return models.RunRequest(**asked).model_dump_json(exclude_unset=True).encode()


def _as(model: type[M]) -> Callable[[bytes], M]:
    return model.model_validate_json


def _maybe(model: type[M]) -> Callable[[bytes], M | None]:
    return lambda content: model.model_validate_json(content) if content.strip() else None


def _lines(content: bytes) -> list[Json]:
    return [json.loads(line) for line in content.splitlines()]
