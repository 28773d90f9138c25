"""The run under way, as metrics: how far it is, and what its trials say so far."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from statistics import median
from typing import Any

from agents.families import Family, Page
from orchestrator.experiments.statistics import median_ci95
from orchestrator.store import Run

_RUN = ("run",)
_CASE = ("run", "experiment", "system", "factors")
INFO = Family(
    "transship_run_info", "gauge", ("run", "experiment", "lab"), "1 for the run under way, and its lab"
)
DONE = Family("transship_run_trials_done", "gauge", _RUN, "trials that the run under way has done")
PLANNED = Family("transship_run_trials_planned", "gauge", _RUN, "trials that it will do, as it plans now")
LEFT = Family("transship_run_left_seconds", "gauge", _RUN, "how long it will still take, as it estimates")
RESULT = Family(
    "transship_result_bytes_per_second",
    "gauge",
    (*_CASE, "statistic"),
    "payload per second in the valid trials so far of the run under way, or else of the last: their "
    "`median`, and the `low` and `high` end of its 95 % interval",
)
LOSS = Family("transship_result_loss_ratio", "gauge", _CASE, "the median of their losses")
TRIALS = Family("transship_result_trials", "gauge", _CASE, "how many trials these numbers are of")
FAMILIES = (INFO, DONE, PLANNED, LEFT, RESULT, LOSS, TRIALS)

RESAMPLES = 1000
"""Fewer than a result has: these numbers are for looking at, many times a minute."""


class RunMetrics:
    """What the trials of one run at a time say. Series of a run end when the next run has its first trial."""

    def __init__(self) -> None:
        self._run = ""
        self._trials: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
        self._made: dict[tuple[str, str], tuple[int, tuple[float, list[float]]]] = {}
        self._experiment = ""

    def trial(self, run: Run, experiment: str, ended: Mapping[str, Any]) -> None:
        """A trial of a run has ended, as `Journal.keep` reports it."""
        if run.id != self._run:
            self._run, self._experiment = run.id, experiment
            self._trials.clear()
            self._made.clear()
        if ended["valid"] and _bytes(ended["summary"]) is not None:
            self._trials[ended["system"], ended["factors"]].append(ended["summary"])

    def add(self, page: Page) -> None:
        """Add the samples."""
        for (system, factors), trials in self._trials.items():
            case = (self._run, self._experiment, system, factors)
            middle, (low, high) = self._interval((system, factors))
            for statistic, value in (("median", middle), ("low", low), ("high", high)):
                page.add(RESULT, (*case, statistic), value)
            losses = [trial["loss"] for trial in trials if trial.get("loss") is not None]
            if losses:
                page.add(LOSS, case, median(losses))
            page.add(TRIALS, case, len(trials))

    def _interval(self, case: tuple[str, str]) -> tuple[float, list[float]]:
        """The median of a case and its interval, made anew when there is another trial."""
        values = [found for trial in self._trials[case] if (found := _bytes(trial)) is not None]
        if case not in self._made or self._made[case][0] != len(values):
            self._made[case] = (len(values), median_ci95(values, 0, RESAMPLES))
        return self._made[case][1]


def _bytes(trial: Mapping[str, Any]) -> float | None:
    """What a trial's summary says of throughput: Mb/s, or, within a host, MB/s."""
    if trial.get("throughput_mbps") is not None:
        return 1e6 / 8 * float(trial["throughput_mbps"])
    return None if trial.get("value") is None else 1e6 * float(trial["value"])


def add_progress(page: Page, run: Run, experiment: str, progress: Mapping[str, Any] | None) -> None:
    """Add the samples of how far the run under way is."""
    page.add(INFO, (run.id, experiment, run.lab or ""), 1)
    if progress is None or progress["phase"] == "deploy":
        return
    page.add(DONE, (run.id,), progress["done"])
    page.add(PLANNED, (run.id,), progress["total"])
    if progress.get("seconds_left") is not None:
        page.add(LEFT, (run.id,), progress["seconds_left"])
