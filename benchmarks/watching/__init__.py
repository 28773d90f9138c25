"""`bench watching`: what looking at a lab costs the experiment that uses it.

One small experiment like Figure 6, on an orchestrator of its own, again and again: with nobody watching,
with 1000 requests per second for the lab and a host, with Prometheus' scrapes, with the live feed read. These
alternate.
"""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks._plan import Report, told
from benchmarks._rows import SEED, ratio, row
from benchmarks.watching.usage import Usage
from benchmarks.watching.watches import NONE, WATCHES, there_is, watching
from orchestrator.cli.private import PrivateServer, private_server
from orchestrator.client import Client, ClientError
from orchestrator.connection import Connection
from orchestrator.state import state_directory

LAB = "watched"
SYSTEMS, HOGS = ("linux", "shipping"), (0, 2)
TRIALS, QUICK_TRIALS = 7, 1
SECONDS, QUICK_SECONDS = 4.0, 1.0
QUICK_WATCHES = (NONE, "inspect")
ENOUGH = 5
"""With fewer trials an interval says nothing of what may differ by chance."""
LATENCIES = {"median": 0.5, "99 %": 0.99, "longest": 1.0}

Values = dict[tuple[str, Any, str, str], dict[int, float]]
"""By measure, hogs (None: does not matter), who, and watch: what each valid trial found, by its number."""


def main(options: dict[str, Any], report: Report) -> dict[str, Any]:
    """Run the benchmark as the command line asks for it: `quick`, `trials`."""
    quick = bool(options.get("quick"))
    trials = options.get("trials") or (QUICK_TRIALS if quick else TRIALS)
    watches = QUICK_WATCHES if quick else tuple(WATCHES)
    return run(trials, watches, QUICK_SECONDS if quick else SECONDS, report)


def run(trials: int, watches: Sequence[str], seconds: float, report: Report) -> dict[str, Any]:
    """Measure with each of `watches` and return the result in the shape of `reproduce --format json`.

    Raises:
        PermissionError: not root.
        ClientError, RuntimeError: the orchestrator or a watcher does not do what it should.
    """
    from benchmarks.watching.chart import draw

    if os.geteuid() != 0:
        raise PermissionError("bench watching needs root: it makes network namespaces")
    state = Path(tempfile.mkdtemp(prefix="transship-bench-"))
    bench = Bench(seconds)
    try:
        with private_server(state) as private:
            bench.begin(private)
            able = [watch for watch in watches if there_is(bench.server, LAB, watch)]
            plan = [(n, able[(n + at) % len(able)]) for n in range(trials) for at in range(len(able))]
            for number, watch in told(plan, "watching", lambda one: f"watch {one[1]}", report):
                bench.trial(number, watch)
    finally:
        shutil.rmtree(state)
    rows = bench.rows(able, trials)
    figure = state_directory() / "benchmarks" / f"watching-{time.strftime('%Y%m%d-%H%M%S')}.png"
    draw(rows, figure)
    absent = [
        f"{watch}: left out, this orchestrator has nothing of the kind"
        for watch in watches
        if watch not in able
    ]
    return {
        "benchmark": "watching",
        "environment": {
            "kernel": platform.release(),
            "cpus": len(os.sched_getaffinity(0)),
            "seed": SEED,
            "notes": [*bench.notes(rows), *absent, *bench.problems],
        },
        "rows": rows,
        "ratios": bench.ratios(able),
        "figure": str(figure),
    }


class Bench:
    """An orchestrator with a lab, and what was found on it."""

    def __init__(self, seconds: float) -> None:
        self._document = document(seconds)
        self._values: Values = defaultdict(dict)
        self._own: dict[str, list[float]] = defaultdict(list)
        self.problems: list[str] = []

    def begin(self, private: PrivateServer) -> None:
        """Deploys the lab."""
        self._socket = private.socket
        self.server = Connection(f"unix:{private.socket}")
        self._client = Client(f"unix:{private.socket}")
        self._client.deploy(LAB, str(self._document["topology"]))
        machine = self._client.machines()[0].pid
        if machine is None:
            raise ClientError("the machine agent does not run")
        self._pids = {"orchestrator": private.process.pid, "machine agent": machine}
        self._cpus = os.sched_getaffinity(0)
        self._away = self._cpus - set(self._client.host(LAB, "middle").cpus or ()) or self._cpus

    def trial(self, number: int, watch: str) -> None:
        """One run of the experiment with one trial of everything, while it is watched."""
        with watching(self.server, self._socket, LAB, watch, self._away) as watched:
            before = {who: Usage.of(pid) for who, pid in self._pids.items()}
            run = self._client.wait(self._client.create_run(self._document, lab=LAB, seed=number).id)
            after = {who: Usage.of(pid) for who, pid in self._pids.items()}
        for who, used in after.items():
            self._values["CPU s/s", None, who, watch][number] = used.since(before[who])
            self._values["memory", None, who, watch][number] = used.memory_mb
        if run.state not in ("done", "invalid"):
            raise ClientError(f"the run {run.id} {run.state}: {run.message}")
        for trial in self._client.trials(run.id):
            if trial["valid"]:
                where = ("throughput", trial["factors"]["hogs"], trial["system"], watch)
                self._values[where][number] = trial["throughput_mbps"]
            else:
                self.problems.append(
                    f"{watch}, {trial['system']}, {trial['factors']['hogs']} hogs, trial {number + 1}: "
                    f"{'; '.join(trial['reasons'])}"
                )
        if watched.found:
            self._answered(number, watch, watched.found)

    def _answered(self, number: int, watch: str, found: dict[str, Any]) -> None:
        self._values["answers per second", None, "watcher", watch][number] = found["count"] / found["seconds"]
        if found["failed"]:
            self.problems.append(f"{watch}, trial {number + 1}: {found['failed']} requests failed")
        ordered = sorted(found["ms"])
        for name, part in LATENCIES.items() if ordered else ():
            at = min(len(ordered) - 1, int(part * len(ordered)))
            self._values[f"{name} latency", None, "watcher", watch][number] = ordered[at]
        self._own[watch].append(found["cpu_s"] / found["seconds"])

    def rows(self, watches: Sequence[str], trials: int) -> list[dict[str, Any]]:
        """The throughput of each system with and without, and then what the watching took."""
        cells = [
            ("throughput", hogs, system, watch) for hogs in HOGS for system in SYSTEMS for watch in watches
        ]
        cells += [cell for cell in self._values if cell not in cells]
        return [
            row(
                who,
                _factors(measure, hogs, watch),
                _unit(measure),
                self._values[measure, hogs, who, watch],
                trials,
            )
            for measure, hogs, who, watch in cells
        ]

    def ratios(self, watches: Sequence[str]) -> list[dict[str, Any]]:
        """The throughput with each watch to that with none."""
        return [
            ratio(
                watch,
                NONE,
                {"hogs": hogs, "system": system},
                self._values["throughput", hogs, system, watch],
                self._values["throughput", hogs, system, NONE],
            )
            for watch in watches
            if watch != NONE
            for hogs in HOGS
            for system in SYSTEMS
        ]

    def notes(self, rows: Sequence[dict[str, Any]]) -> list[str]:
        """What was moved, and what the watchers took themselves."""
        measured = [one for one in rows if one["factors"]["measure"] == "throughput"]
        alone = {
            (one["system"], one["factors"]["hogs"]): one
            for one in measured
            if one["factors"]["watch"] == NONE
        }
        found = [
            f"{one['factors']['watch']}: {one['system']} with {one['factors']['hogs']} hogs "
            f"{moved(one, alone[one['system'], one['factors']['hogs']])}"
            for one in measured
            if one["factors"]["watch"] != NONE
        ]
        where = ", ".join(map(str, sorted(self._away)))
        for watch, cpu in self._own.items():
            found.append(
                f"{watch}: the watcher took {sum(cpu) / len(cpu):.2f} CPU s/s itself, on CPU {where}"
            )
        if self._away == self._cpus:
            found.append("the watchers are not kept from the middle host's CPU: there is no other")
        return found


def document(seconds: float) -> dict[str, Any]:
    """The experiment: forwarding at the paper's rate on 2 % of a CPU, alone and beside two hogs."""
    return {
        "name": "watched",
        "topology": "two-fddi",
        "workloads": {
            "from": {"workload": "source", "host": "source", "to": "relay", "rate": 93, "size": 4300},
            "relay": {"workload": "forwarder", "host": "middle", "to": "into", "queue": 2048},
            "into": {"workload": "sink", "host": "sink"},
        },
        "hosts": {"middle": {"cpu": 0.02}},
        "factors": {"system": list(SYSTEMS), "hogs": list(HOGS)},
        "plan": {"trials": 1, "warmup": 0.5, "duration": seconds},
    }


def moved(watched: dict[str, Any], alone: dict[str, Any]) -> str:
    """Whether the median of a row is outside the interval of the one that nobody watched."""
    if watched["median"] is None or alone["median"] is None:
        return "cannot be told: no valid trial"
    if alone["trials"] - alone["invalid_trials"] < ENOUGH:
        return f"cannot be told: fewer than {ENOUGH} valid trials with nobody watching"
    low, high = alone["ci95"]
    where = f"{watched['median']:.2f} Mb/s, with nobody watching [{low:.2f}, {high:.2f}]"
    return f"did not move: {where}" if low <= watched["median"] <= high else f"moved: {where}"


def _factors(measure: str, hogs: int | None, watch: str) -> dict[str, Any]:
    return {"measure": measure, **({} if hogs is None else {"hogs": hogs}), "watch": watch}


def _unit(measure: str) -> str:
    return {"throughput": "Mb/s", "CPU s/s": "s/s", "memory": "MB", "answers per second": "per s"}.get(
        measure, "ms"
    )
