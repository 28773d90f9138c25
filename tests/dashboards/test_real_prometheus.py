"""A real Prometheus watches real labs and a real run: every panel has data, and what is gone is gone."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dashboards.grafana.all import documents
from tests.dashboards.programs import program
from tests.dashboards.queries import Panel, panels, variables
from tests.dashboards.real import Prometheus, prometheus
from tests.orchestrator.processes import started, until_ended
from tests.orchestrator.test_real_labs import SERVER, Orchestrator, host_agents
from tests.support import PATIENCE_S, wait_until

pytestmark = pytest.mark.root
RINGS, ALONE = "g-rings", "g-alone"
EXPERIMENT = {
    "name": "watched",
    "topology": "two-fddi",
    "workloads": {
        "from": {"workload": "source", "host": "source", "to": "relay", "rate": 40, "size": 4300},
        "relay": {"workload": "forwarder", "host": "middle", "to": "into"},
        "into": {"workload": "sink", "host": "sink"},
    },
    "factors": {"system": ["linux", "shipping"], "hogs": [0, 1]},
    "events": ["at 500ms: cut ring-b", "at 600ms: heal ring-b"],
    "plan": {"trials": 1, "warmup": 0.3, "duration": 1.5},
}


@dataclass
class Watched:
    """What was watched: from `begin` to `end`, by `prometheus`."""

    orchestrator: Orchestrator
    prometheus: Prometheus
    run: str
    begin: float
    end: float

    def page(self, path: str) -> bytes:
        with urllib.request.urlopen(f"{self.orchestrator.address}{path}", timeout=PATIENCE_S) as answer:
            content: bytes = answer.read()
            return content


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    """Two labs, local channels in the one and a run in the other, and at last the death of host agents."""
    program("prometheus")
    directory = Path(tempfile.mkdtemp(prefix="ts-", dir="/tmp"))
    environment = {"TRANSSHIP_STATE": str(directory / "state"), "TRANSSHIP_RUN": str(directory / "run")}
    begin = time.time()
    with started(*SERVER, environment=environment) as process:
        orchestrator = Orchestrator(process, environment)
        with prometheus(orchestrator.address, directory) as beside:
            orchestrator.deploy(RINGS)
            orchestrator.send("POST", "/api/v1/labs", {"name": ALONE, "topology": "one-host"})
            wait_until(lambda: orchestrator.lab(ALONE)["state"] == "ready", "the second lab")
            wait_until(lambda: beside.now(f'up{{lab="{ALONE}"}} == 1'), "the labs to be scraped")
            exchange(orchestrator, beside)
            run = measure(orchestrator)
            seen = f'transship_run_trials_done{{run="{run}"}}'
            wait_until(lambda: beside.now(f"last_over_time({seen}[1m])"), "the run to have been seen")
            for agent in host_agents(process.pid):
                os.kill(agent, signal.SIGKILL)
            alert = 'ALERTS{alertname="TransshipHostAgentSilent"}'
            wait_until(lambda: beside.over(alert, begin, time.time()), "an alert")
            yield Watched(orchestrator, beside, run, begin, time.time())
        process.send_signal(signal.SIGTERM)
        assert until_ended(process) == 0
    shutil.rmtree(directory)


def exchange(orchestrator: Orchestrator, beside: Prometheus) -> None:
    """Two processes hand operations to each other until Prometheus has seen it."""
    workloads = f"/api/v1/labs/{ALONE}/hosts/workstation/workloads"
    ids = []
    for kind in ("consumer", "producer"):
        asked = {"workload": kind, "system": "shipping", "params": {"channel": "c", "duration_s": 600}}
        workload = orchestrator.send("POST", workloads, asked)
        assert workload["state"] == "running", workload
        ids.append(workload["id"])
    for rule in ("recycled:ratio_rate5s", "operations:rate5s"):
        wait_until(lambda: beside.now(f"transship:{rule} > 0"), f"{rule} to be recorded")  # noqa: B023
    for one in ids:
        orchestrator.send("DELETE", f"{workloads}/{one}")


def measure(orchestrator: Orchestrator) -> str:
    """A run, from its beginning to its end: its id."""
    run = orchestrator.send("POST", "/api/v1/runs", {"experiment": EXPERIMENT, "lab": RINGS})["id"]

    def state() -> Any:
        return orchestrator.send("GET", f"/api/v1/runs/{run}")["state"]

    wait_until(lambda: state() not in ("queued", "running"), "the run to end", 2 * PATIENCE_S)
    assert state() == "done", orchestrator.send("GET", f"/api/v1/runs/{run}")
    return str(run)


def test_every_panel_has_data(watched: Watched) -> None:
    chosen = {
        "host": "(source|middle|sink|workstation)",
        "system": "(linux|linux-batch|shipping)",
        "run": watched.run,
        "__range": f"{round(watched.end - watched.begin) + 1}s",
    }
    empty = []
    for text in documents().values():
        several = any(one.several for one in variables(text) if one.name == "lab")
        lab = f"({RINGS}|{ALONE})" if several else RINGS
        for panel in panels(text):
            for expr in panel.asked({**chosen, "lab": lab}):
                if not data(watched, panel, expr):
                    empty.append(f"{panel.board}: {panel.title}: {expr}")
    assert empty == []


def data(watched: Watched, panel: Panel, expr: str) -> bool:
    """Whether a question has an answer that is a number."""
    if panel.instant:
        found = [one["value"][1] for one in watched.prometheus.now(expr)]
    else:
        series = watched.prometheus.over(expr, watched.begin, watched.end)
        found = [value for one in series for _, value in one["values"]]
    return any(value not in ("NaN", "+Inf", "-Inf") for value in found)


def test_results_are_by_system_and_load(watched: Watched) -> None:
    metric = f'transship_result_trials{{run="{watched.run}"}}'
    found = [one["metric"] for one in watched.prometheus.now(f"last_over_time({metric}[10m])")]
    assert {(one["system"], one["factors"]) for one in found} == {
        (system, f"{hogs} hogs") for system in ("linux", "shipping") for hogs in (0, 1)
    }


def test_nothing_alarms_while_all_is_well(watched: Watched) -> None:
    series = watched.prometheus.over('ALERTS{alertstate="firing"}', watched.begin, watched.end)
    # A trial can be INVALID because this machine was busy.
    assert {one["metric"]["alertname"] for one in series} - {"TransshipTrialInvalid"} == {
        "TransshipHostAgentSilent"
    }


def test_every_variable_has_choices(watched: Watched) -> None:
    window = {"start": watched.begin, "end": watched.end}
    for text in documents().values():
        for one in variables(text):
            series = one.series.replace("$lab", RINGS)
            found = watched.prometheus.ask(f"label/{one.label}/values", **{"match[]": series}, **window)
            assert found, one


@pytest.mark.parametrize(
    "path",
    [
        "/metrics",
        f"/api/v1/labs/{RINGS}/metrics",
        f"/api/v1/labs/{ALONE}/metrics",
    ],
)
def test_names_and_labels_are_as_prometheus_wants_them(watched: Watched, path: str) -> None:
    page = watched.page(path)
    done = subprocess.run(
        [program("promtool"), "check", "metrics"], input=page, capture_output=True, timeout=PATIENCE_S
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_the_series_of_a_destroyed_lab_are_over(watched: Watched) -> None:
    def series() -> list[dict[str, Any]]:
        return watched.prometheus.now(f'{{lab="{RINGS}"}}')

    begun = {"up", "transship_network_up", "ALERTS"}
    # A scrape that was late on a busy machine ends them for a moment, too.
    wait_until(lambda: begun <= {one["metric"]["__name__"] for one in series()}, "series of the lab")
    watched.orchestrator.send("DELETE", f"/api/v1/labs/{RINGS}")
    wait_until(lambda: series() == [], "the series of a destroyed lab to end")
    assert watched.prometheus.now(f'up{{lab="{ALONE}"}}')
