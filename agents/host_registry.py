"""The workloads of one host, and the manager that those on our own stack need."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from agents.errors import Problem, not_found
from agents.host_workloads import Workload
from agents.requests import HostSetup, WorkloadSpec

ENDED_KEPT = 64
"""Ended workloads whose state can still be asked for."""
RUNNING_LIMIT = 64
ON_OUR_STACK = {"copy", "shipping"}
NEED_A_MANAGER = {
    "source",
    "forwarder",
    "sink",
    "producer",
    "consumer",
    "relay",
    "server",
    "display",
    "copier",
}
MANAGER_PARAMS = (
    *("backend", "queue_datagrams", "segmentation"),
    *("page_bytes", "pages", "protection", "zeroing", "recycling"),
)
"""Parameters of a workload that are meant for its host's manager as well."""
MANAGER_DEFAULTS = {
    "backend": "auto",
    "segmentation": True,
    "page_bytes": 4096,
    "protection": "cooperative",
    "recycling": True,
}


Reading = dict[str, tuple[float, dict[str, int]]]
"""Moment (monotonic, seconds) and counters of workloads, by id."""


class Workloads:
    """Starts, finds and stops workloads.

    `place(pid)` puts a process into the cgroup of the I/O path, `release(pid)` out of it for its end.
    """

    def __init__(
        self, setup: HostSetup, place: Callable[[int], None], release: Callable[[int], None]
    ) -> None:
        self._setup = setup
        self._place = place
        self._release = release
        self._all: dict[str, Workload] = {}
        self._numbers = itertools.count(1)
        # Ids of an earlier agent of this host must not name this one's workloads.
        self._life = secrets.token_hex(3)
        self._manager: Workload | None = None
        self._manager_params: dict[str, Any] = {}
        self._manager_lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._past: dict[tuple[str, str], Counter[str]] = {}
        self._endings: Counter[tuple[str, str, str]] = Counter()

    async def start(self, spec: WorkloadSpec) -> Workload:
        """Starts a workload, its manager first if it needs one, and returns when it is ready.

        Raises `Problem` when either refuses or breaks; neither is left behind then.
        """
        if sum(not w.ended for w in self._all.values()) >= RUNNING_LIMIT:
            raise Problem(409, f"{self._where} runs {RUNNING_LIMIT} workloads already")
        params = dict(spec.params)
        if spec.system in ON_OUR_STACK and spec.workload in NEED_A_MANAGER:
            async with self._manager_lock:
                manager = await self._running_manager(params)
                params["manager_socket"] = str(self._manager_socket)
                workload = self._launch(spec.workload, spec.system, spec.sample_s)
                workload.manager = manager
        else:
            workload = self._launch(spec.workload, spec.system, spec.sample_s)
        try:
            await workload.begin(params, self._place)
        except BaseException:
            self._all.pop(workload.id, None)
            await self._release_manager()
            raise
        return workload

    def get(self, workload_id: str) -> Workload:
        """The workload of that id. Raises `Problem` 404."""
        try:
            return self._all[workload_id]
        except KeyError:
            where = f"{self._where} (an agent that was started again knows none from before)"
            raise not_found("workload", workload_id, where) from None

    async def stop(self, workload_id: str) -> Workload:
        """Stops a workload and, after the last that needs it, the manager; both are gone on return."""
        workload = self.get(workload_id)
        await workload.stop(self._release)
        if workload.manager is not None:
            await self._release_manager()
        return workload

    async def kill_all(self) -> None:
        """Ends every process at once."""
        living = [w for w in self._all.values() if not w.ended]
        await asyncio.gather(*(w.kill("its host agent ends") for w in living))

    def describe(self, since: Reading | None = None) -> list[dict[str, Any]]:
        """The states of all that run and of those that ended lately, oldest first.

        `per_second` is how fast each one's counters have grown since that reading, which it was part of.
        """
        return [
            {**workload.describe(), "per_second": _rates(workload, since)} for workload in self._all.values()
        ]

    def read(self) -> Reading:
        """The counters of all that run, each with its moment."""
        running = [workload for workload in self._all.values() if not workload.ended]
        return {workload.id: (time.monotonic(), workload.counters()) for workload in running}

    def look(self) -> dict[str, Any]:
        """What metrics and the live feed are made of: totals that never fall while this agent lives, gauges,
        states, and all that run with their counters; each workload's counters are read once.
        """
        totals = {key: Counter(past) for key, past in self._past.items()}
        gauges: Counter[str] = Counter()
        states = Counter(self._endings)
        running = []
        for workload in self._all.values():
            if workload.ended:
                continue
            key = (workload.workload, workload.system)
            lasting, passing = _split(workload.counters())
            totals.setdefault(key, Counter()).update(lasting)
            gauges.update(passing)
            states[(*key, workload.state)] += 1
            about = {"id": workload.id, "workload": key[0], "system": key[1], "state": workload.state}
            running.append({**about, "counters": lasting})
        return {
            "totals": [
                {"workload": workload, "system": system, "counters": dict(counters)}
                for (workload, system), counters in totals.items()
            ],
            "gauges": dict(gauges),
            "states": [
                {"workload": workload, "system": system, "state": state, "count": count}
                for (workload, system, state), count in states.items()
            ],
            "running": running,
            "managed": self._manager is not None and self._manager.active,
        }

    @property
    def _where(self) -> str:
        return f"host {self._setup.host!r} of lab {self._setup.lab!r}"

    @property
    def _manager_socket(self) -> Path:
        return self._setup.run_dir / f"{self._setup.host}.manager.sock"

    async def _running_manager(self, params: dict[str, Any]) -> Workload:
        """The host's manager, started if there is none. Call with the manager's lock held."""
        wanted = {name: params[name] for name in MANAGER_PARAMS if name in params}
        if self._manager is not None and self._manager.active:
            for name, value in wanted.items():
                has = self._manager_params.get(name)
                if has != value:
                    raise Problem(
                        409,
                        f"the manager of {self._where} runs with {name} {has!r} for another workload; "
                        f"{value!r} cannot be had now",
                        f"params.{name}",
                    )
            return self._manager
        self._manager_params = {**MANAGER_DEFAULTS, **wanted}
        self._manager_socket.unlink(missing_ok=True)  # a killed manager leaves its socket
        manager = self._launch("manager", "stack")
        self._manager = manager
        try:
            await manager.begin(
                {
                    "interfaces": self._setup.interfaces,
                    "socket": str(self._manager_socket),
                    **self._manager_params,
                },
                self._place,
            )
        except BaseException:
            self._manager = None
            self._all.pop(manager.id, None)
            raise
        return manager

    def _launch(self, workload: str, system: str, sample_s: float | None = None) -> Workload:
        workload_id = f"{workload}-{self._life}-{next(self._numbers)}"
        command = self._setup.workload_command
        launched = Workload(workload_id, workload, system, command, self._ended, sample_s)
        self._all[workload_id] = launched
        return launched

    def _ended(self, workload: Workload) -> None:
        key = (workload.workload, workload.system)
        self._past.setdefault(key, Counter()).update(_split(workload.counters())[0])
        self._endings[(*key, workload.state)] += 1
        if workload is self._manager:
            self._manager = None
            for user in self._all.values():
                if user.manager is workload and not user.ended:
                    self._soon(user.kill("ended with its manager"))
        elif workload.manager is not None:
            self._soon(self._release_manager())
        ended = [one.id for one in self._all.values() if one.ended]
        for old in ended[:-ENDED_KEPT]:
            del self._all[old]

    async def _release_manager(self) -> None:
        async with self._manager_lock:
            manager = self._manager
            if manager is None or any(w.manager is manager and not w.ended for w in self._all.values()):
                return
            await manager.stop(self._release)

    def _soon(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _rates(workload: Workload, since: Reading | None) -> dict[str, float]:
    if since is None or workload.id not in since:
        return {}
    moment, before = since[workload.id]
    lasting, _ = _split(workload.counters())
    seconds = time.monotonic() - moment
    return {name: (value - before.get(name, 0)) / seconds for name, value in lasting.items()}


def _split(counters: dict[str, int]) -> tuple[dict[str, int], dict[str, int]]:
    """Counters that only grow, and levels, which end with their process."""
    passing = {name: value for name, value in counters.items() if _is_level(name)}
    return {name: value for name, value in counters.items() if name not in passing}, passing


def _is_level(name: str) -> bool:
    return name.startswith("containers_") or name.endswith(("_backlog", "_attached", "_open"))
