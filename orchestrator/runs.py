"""The runs: queued, executed one at a time, paused, cancelled, and cleaned up after whatever happens.

One at a time because two measurements on one machine void each other.
"""

import asyncio
import errno
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from agents.client import Machine
from agents.errors import Problem
from orchestrator.events import EventBus
from orchestrator.labs import Labs, MachineSource
from orchestrator.store import CAN_GO_ON, Run, Store, StoreError, new_run_id, now

log = logging.getLogger(__name__)

Report = Callable[[dict[str, Any]], None]
PROGRESS_FIELDS = ("phase", "done", "total", "seconds_left")


class Engine(Protocol):
    """What knows the experiments and executes them."""

    def topology(self, experiment: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """The topology an experiment needs with these options, as JSON. Raises Problem 422 if there is no
        such experiment."""
        ...

    def estimate(self, experiment: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """How much a run will be: {"combinations", "trials", "seconds"}. Raises Problem 422 as `topology`."""
        ...

    def execute(
        self, machine: Machine, lab: str, run: Run, directory: Path, report: Report
    ) -> Awaitable[str]:
        """Execute in a deployed lab, write the files of the run, and return the verdict. What a run of this
        id has done before, as far as `directory` knows of it, is not done again."""
        ...


class _Interruption(Exception):
    """Why the current run was stopped, and the state it ends in."""

    def __init__(self, state: str, message: str) -> None:
        super().__init__(message)
        self.state = state
        self.message = message


class Runs:
    """The queue and the one run under way. `lasting`: others go on with it when this process dies
    (orchestrator.recovery). `on_trial` hears of each trial that was done, as `Journal.keep` reports it."""

    def __init__(
        self,
        store: Store,
        labs: Labs,
        machine: MachineSource,
        engine: Engine,
        events: EventBus,
        lasting: bool,
    ) -> None:
        self.on_trial: Callable[[Run, Mapping[str, Any]], None] = lambda run, kept: None
        self._store = store
        self._labs = labs
        self._machine = machine
        self._engine = engine
        self._events = events
        self._lasting = lasting
        self._queue: dict[str, Run] = {}
        self._current: Run | None = None
        self._measuring: asyncio.Task[str] | None = None
        self._interruption: _Interruption | None = None
        self._progress: dict[str, Any] | None = None
        self._wanted = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._closing = False

    @property
    def running(self) -> Run | None:
        """The run under way."""
        return self._current

    @property
    def queued(self) -> int:
        """How many runs wait."""
        return len(self._queue)

    def progress(self, run_id: str) -> dict[str, Any] | None:
        """How far the run under way is; None for any other."""
        return self._progress if self._current is not None and self._current.id == run_id else None

    async def take_up(self) -> None:
        """Queue what was queued when this orchestrator began: what a dead one left, and may go on."""
        for run in await self._store.waiting():
            self._enqueue(run)

    async def submit(self, experiment: str, lab: str | None, options: dict[str, Any]) -> Run:
        """Queue a run. Raises Problem (unknown experiment, lab not ready) and StoreError."""
        await asyncio.to_thread(self._engine.topology, experiment, options)
        if lab is not None:
            self._labs.ready(lab)
        if self._closing:
            raise Problem(503, "the orchestrator is stopping")
        run = await self._store.add(Run(new_run_id(), experiment, options, lab, queued=self._moment()))
        self._enqueue(run)
        return run

    async def find(self, run_id: str) -> Run:
        """One run. Raises Problem 404."""
        if self._current is not None and self._current.id == run_id:
            return self._current
        run = self._queue.get(run_id) or await self._store.get(run_id)
        if run is None:
            raise Problem(404, f"there is no run {run_id!r}", "run")
        return run

    async def cancel(self, run_id: str) -> Run:
        """Take a run from the queue or begin to stop it. Raises Problem 404, or 409 once it has ended."""
        run = await self.find(run_id)
        if run.id in self._queue:
            return await self._end(self._queue.pop(run.id), "cancelled", "cancelled before it began")
        if run is not self._current:
            raise Problem(409, f"the run {run_id} has ended already: it is {run.state}", "run")
        self.interrupt("cancelled", "cancelled on request")
        return run

    async def pause(self, run_id: str) -> Run:
        """Begin to stop a run that shall go on later. Raises Problem 404, or 409 once it has ended."""
        run = await self.find(run_id)
        if run.id in self._queue:
            return await self._end(self._queue.pop(run.id), "paused", "paused before it began")
        if run is not self._current:
            raise Problem(409, f"the run {run_id} is not under way: it is {run.state}", "run")
        self.interrupt("paused", "paused on request")
        return run

    async def resume(self, run_id: str) -> Run:
        """Queue a run again that stopped without a result; its finished trials are not done again.

        Raises Problem 404, 409 when it has a result or is under way, 422 and 503 as `submit`.
        """
        run = await self.find(run_id)
        if run.state not in CAN_GO_ON:
            *most, last = CAN_GO_ON
            detail = f"the run {run_id} is {run.state}; runs that are {', '.join(most)} or {last} can go on"
            raise Problem(409, detail, "run")
        await asyncio.to_thread(self._engine.topology, run.experiment, run.options)
        if run.lab is not None and not has_own_lab(run):
            self._labs.ready(run.lab)
        if self._closing:
            raise Problem(503, "the orchestrator is stopping")
        again: dict[str, Any] = {"state": "queued", "queued": self._moment(), "interruptions": 0}
        run = replace(run, message="", verdict=None, finished=None, **again)
        await self._store.update(run)
        if run.id not in self._queue and (self._current is None or self._current.id != run.id):
            # Else somebody else was as quick.
            self._enqueue(run)
        return run

    def interrupt(self, state: str, message: str) -> None:
        """Stop the run under way, if any; it ends in `state` once it has cleaned up."""
        if self._current is not None and self._interruption is None:
            self._interruption = _Interruption(state, message)
            if self._measuring is not None:
                self._measuring.cancel()

    async def work(self) -> None:
        """Execute what is queued, one after the other, until `close`."""
        while not self._closing:
            if not self._queue:
                self._wanted.clear()
                await self._wanted.wait()
                continue
            run = self._queue.pop(next(iter(self._queue)))
            await self._execute(run)

    async def close(self) -> None:
        """Cancel everything and wait until it is cleaned up; `work` ends then. Called twice is once."""
        self._closing = True
        for run_id in list(self._queue):
            await self._end(self._queue.pop(run_id), "cancelled", "cancelled: the orchestrator stopped")
        self.interrupt("cancelled", "cancelled: the orchestrator stopped")
        self._wanted.set()
        await self._idle.wait()

    def _enqueue(self, run: Run) -> None:
        self._queue[run.id] = run
        self._tell(run)
        self._wanted.set()

    def _moment(self) -> str | None:
        return now() if self._lasting else None

    async def _execute(self, run: Run) -> None:
        self._idle.clear()
        self._interruption, self._progress = None, None
        own_lab = has_own_lab(run)
        lab = run.lab or _own_lab(run)
        self._current = run = replace(run, state="running", started=now(), lab=lab)
        self._tell(run)
        state, message, verdict = "failed", "", None
        try:
            await self._store.update(run)
            self._measuring = asyncio.create_task(self._measure(run, own_lab), name=f"run {run.id}")
            if self._interruption is not None:
                self._measuring.cancel()
            verdict = await self._measuring
            state = "invalid" if verdict == "invalid" else "done"
        except asyncio.CancelledError:
            why = self._interruption or _Interruption("cancelled", "cancelled: the orchestrator stopped")
            state, message = why.state, why.message
        except (Problem, StoreError) as error:
            state, message = "failed", str(error)
        except OSError as error:
            what = "no space left for results" if error.errno == errno.ENOSPC else str(error)
            state, message = "failed", f"{what} (in {self._store.directory(run.id)})"
        except Exception as error:
            log.exception("fault in run %s", run.id)
            state, message = "failed", f"fault in the experiment: {type(error).__name__}: {error}"
        if state == "failed":
            with suppress(Problem):
                # If it failed because the machine agent died, this is when that is noticed.
                await self._machine.available()
        if self._interruption is not None and state == "failed":
            # Whatever the interruption made fail first, the reason is the interruption.
            state, message = self._interruption.state, self._interruption.message
        self._measuring = None
        left = await self._clean(run, own_lab)
        await self._end(run, state, "; ".join(filter(None, (message, left))), verdict)
        self._current = None
        self._idle.set()

    async def _measure(self, run: Run, own_lab: bool) -> str:
        assert run.lab is not None
        self._report(run, {"phase": "deploy", "done": 0, "total": 1})
        if own_lab:
            await self._machine.available()
            topology = await asyncio.to_thread(self._engine.topology, run.experiment, run.options)
            self._labs.create(run.lab, topology, run.id)
            await self._labs.deployed(run.lab)
        else:
            self._labs.use(run.lab, run.id)
            await self._labs.quiet(run.lab)
        return await self._engine.execute(
            self._machine.client,
            run.lab,
            run,
            self._store.directory(run.id),
            lambda event: self._report(run, event),
        )

    async def _clean(self, run: Run, own_lab: bool) -> str:
        """Give the lab back, or destroy the run's own; returns what could not be done."""
        assert run.lab is not None
        if not own_lab:
            self._labs.release(run.lab, run.id)
            return ""
        try:
            self._labs.destroy(run.lab, run.id)
            await self._labs.gone(run.lab)
        except Problem as error:
            return error.detail
        return ""

    async def _end(self, run: Run, state: str, message: str, verdict: str | None = None) -> Run:
        run = replace(run, state=state, message=message, verdict=verdict, finished=now())
        try:
            await self._store.update(run)
        except StoreError as error:
            run = replace(run, message="; ".join(filter(None, (run.message, str(error)))))
        if self._current is not None and self._current.id == run.id:
            self._current = run
        self._tell(run)
        return run

    def _report(self, run: Run, event: dict[str, Any]) -> None:
        if "kept" in event:
            self.on_trial(run, event["kept"])
            return
        self._progress = {name: event[name] for name in PROGRESS_FIELDS if name in event}
        self._events.publish("progress", {"run": run.id, **event}, run=run.id)

    def _tell(self, run: Run) -> None:
        data = {"run": run.id, "state": run.state, "message": run.message, "verdict": run.verdict}
        self._events.publish("run", data, run=run.id)


def _own_lab(run: Run) -> str:
    """The name of the lab that a run deploys for itself; no longer than a name may be."""
    return f"{run.experiment[:24]}-{run.id.rpartition('-')[2]}"


def has_own_lab(run: Run) -> bool:
    """Whether a run deploys its lab itself."""
    return run.lab in (None, _own_lab(run))


async def settle(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait until it has ended."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
