"""What the orchestrator says of itself to Prometheus: its labs, runs, trials, requests and processes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from aiohttp import web

from agents.families import Family, Page
from agents.problems import Handler
from orchestrator import run_metrics
from orchestrator.api.models import LabState, RunState
from orchestrator.experiments.systems import SYSTEMS
from orchestrator.run_metrics import RunMetrics
from orchestrator.store import Run

AGENT_PROCESS = "transship_machine_agent"
"""What the names of the machine agent's process begin with; those of the orchestrator's with nothing."""
OWN, OTHER = "own", "other"
"""What experiments of users are called, and systems in them that there are not: labels must be few."""

LABS = Family("transship_labs", "gauge", ("state",), "labs, by state")
RUNS = Family("transship_runs", "gauge", ("state",), "runs of the state directory, by state")
TRIALS = Family(
    "transship_trials_total",
    "counter",
    ("experiment", "system", "validity"),
    "trials that have ended since the orchestrator started, `valid` and `invalid`; "
    "`experiment` is `own` for those of users",
)
UNBALANCED = Family(
    "transship_books_unbalanced_total", "counter", ("experiment",), "those of them whose books differ"
)
AGENT_UP = Family("transship_agent_up", "gauge", ("machine",), "1 while the machine agent answers, else 0")
REQUESTS = Family(
    "transship_http_requests_total",
    "counter",
    ("status",),
    "requests answered, by class of status (`2xx`); streams count when they end",
)
FAMILIES = (LABS, RUNS, TRIALS, UNBALANCED, AGENT_UP, REQUESTS, *run_metrics.FAMILIES)
"""What the orchestrator's metrics are, beside those of processes, which are prometheus_client's."""


class Counts:
    """What is counted while the orchestrator lives."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.trials: Counter[tuple[str, str, str]] = Counter()
        self.unbalanced: Counter[str] = Counter()
        self.run = RunMetrics()

    def trial(self, run: Run, ended: Mapping[str, Any]) -> None:
        """A trial of a run has ended, as `Journal.keep` reports it."""
        experiment = experiment_of(run)
        system = OTHER if experiment == OWN and ended["system"] not in SYSTEMS else ended["system"]
        self.trials[experiment, system, "valid" if ended["valid"] else "invalid"] += 1
        self.trials[experiment, system, "invalid" if ended["valid"] else "valid"] += 0
        self.unbalanced[experiment] += not ended["balanced"]
        self.run.trial(run, experiment, {**ended, "system": system})

    @web.middleware
    async def count(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Counts what was answered."""
        response = await handler(request)
        self.requests[f"{response.status // 100}xx"] += 1
        return response


def experiment_of(run: Run) -> str:
    """What the experiment of a run is called."""
    return OWN if "document" in run.options else run.experiment


async def render(
    counts: Counts,
    labs: Iterable[str],
    runs: Mapping[str, int],
    machine: Mapping[str, Any],
    running: tuple[Run, Mapping[str, Any] | None] | None,
) -> bytes:
    """The metrics. `labs` are the states of all labs, `runs` the numbers of runs by state, `machine` is how
    that describes itself, `running` the run under way and how far it is."""
    page = Page(FAMILIES)
    for family, states, found in (
        (LABS, get_args(LabState), Counter(labs)),
        (RUNS, get_args(RunState), Counter(runs)),
    ):
        for state in states:
            page.add(family, (state,), found[state])
    for family, counted in ((TRIALS, counts.trials), (REQUESTS, counts.requests)):
        for labels, count in counted.items():
            page.add(family, (labels,) if isinstance(labels, str) else labels, count)
    for experiment, count in counts.unbalanced.items():
        page.add(UNBALANCED, (experiment,), count)
    page.add(AGENT_UP, (machine["name"],), int(machine["state"] == "up"))
    if running is not None:
        run_metrics.add_progress(page, running[0], experiment_of(running[0]), running[1])
    counts.run.add(page)
    return page.text() + await asyncio.to_thread(_processes, machine["pid"])


def _processes(machine_pid: int | None) -> bytes:
    # Not at the top: it takes longer to import than all else of a verb that starts a private orchestrator.
    from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    if machine_pid is not None:
        ProcessCollector(namespace=AGENT_PROCESS, pid=lambda: machine_pid, registry=registry)
    return generate_latest(registry)
