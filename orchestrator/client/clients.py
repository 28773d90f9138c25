"""The two clients. What they can ask for is in `calls`; here is how it gets there and back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from contextlib import aclosing
from types import TracebackType
from typing import Any, Generic, ParamSpec, Self, TypeVar

import aiohttp

from orchestrator.api.live_models import LiveSample
from orchestrator.api.models import LabView, RunView
from orchestrator.client import calls
from orchestrator.client.calls import Call, Json
from orchestrator.connection import (
    REQUEST_S,
    SILENCE_S,
    ClientError,
    Connection,
    Event,
    Reader,
    Refused,
    Unreachable,
    authorization,
    checked_address,
    events_path,
    live_path,
    token_of_the_environment,
)
from orchestrator.experiments.result import Result
from orchestrator.state import DEFAULT_LISTEN

ADDRESS = f"http://{DEFAULT_LISTEN}"
STOPPED = ("failed", "cancelled", "paused", "interrupted")
"""States of a run that came to no result, though it may go on."""
ENDED = ("done", "invalid", *STOPPED)
AGAIN_S = 0.2
"""Between two looks at a lab: an event might come before one begins to listen."""

P = ParamSpec("P")
T = TypeVar("T")


class RunFailed(ClientError):
    """A run came to no result; `run` says how it ended."""

    def __init__(self, run: RunView) -> None:
        super().__init__(f"the run {run.id} {run.state}: {run.message}")
        self.run = run


class _Sync(Generic[P, T]):
    """A call as a method that waits for the answer."""

    def __init__(self, make: Callable[P, Call[T]]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    def __get__(self, client: Client, owner: type[Client]) -> Callable[P, T]:
        def method(*given: P.args, **named: P.kwargs) -> T:
            return client.send(self._make(*given, **named))

        return method


class _Async(Generic[P, T]):
    """A call as a coroutine."""

    def __init__(self, make: Callable[P, Call[T]]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    def __get__(self, client: AsyncClient, owner: type[AsyncClient]) -> Callable[P, Coroutine[Any, Any, T]]:
        async def method(*given: P.args, **named: P.kwargs) -> T:
            return await client.send(self._make(*given, **named))

        return method


class Client:
    """An orchestrator, for scripts and notebooks. Every method may raise Unreachable and Refused.

    Without `token` it is the one in the file that `$TRANSSHIP_TOKEN_FILE` names, if any.
    """

    health = _Sync(calls.health)
    machines = _Sync(calls.machines)
    systems = _Sync(calls.systems)
    topologies = _Sync(calls.topologies)
    experiments = _Sync(calls.experiments)
    labs = _Sync(calls.labs)
    lab = _Sync(calls.lab)
    create_lab = _Sync(calls.create_lab)
    destroy_lab = _Sync(calls.destroy_lab)
    host = _Sync(calls.host)
    counters = _Sync(calls.counters)
    network_counters = _Sync(calls.network_counters)
    metrics = _Sync(calls.metrics)
    lab_metrics = _Sync(calls.lab_metrics)
    execute = _Sync(calls.execute)
    workloads = _Sync(calls.workloads)
    start_workload = _Sync(calls.start_workload)
    workload = _Sync(calls.workload)
    change_workload = _Sync(calls.change_workload)
    stop_workload = _Sync(calls.stop_workload)
    picture = _Sync(calls.picture)
    hogs = _Sync(calls.hogs)
    set_hogs = _Sync(calls.set_hogs)
    capture_interface = _Sync(calls.capture_interface)
    capture_network = _Sync(calls.capture_network)
    network = _Sync(calls.network)
    set_network = _Sync(calls.set_network)
    changes = _Sync(calls.changes)
    apply = _Sync(calls.apply)
    cut_network = _Sync(calls.cut_network)
    heal_network = _Sync(calls.heal_network)
    cut_link = _Sync(calls.cut_link)
    heal_link = _Sync(calls.heal_link)
    stop_host = _Sync(calls.stop_host)
    start_host = _Sync(calls.start_host)
    runs = _Sync(calls.runs)
    create_run = _Sync(calls.create_run)
    estimate = _Sync(calls.estimate)
    experiment_schema = _Sync(calls.experiment_schema)
    run = _Sync(calls.run)
    cancel_run = _Sync(calls.cancel_run)
    pause_run = _Sync(calls.pause_run)
    resume_run = _Sync(calls.resume_run)
    trials = _Sync(calls.trials)
    series = _Sync(calls.series)
    table = _Sync(calls.table)
    result = _Sync(calls.result)
    figure = _Sync(calls.figure)
    compare = _Sync(calls.compare)
    export_run = _Sync(calls.export_run)
    import_run = _Sync(calls.import_run)

    def __init__(self, address: str = ADDRESS, token: str | None = None) -> None:
        self._connection = Connection(address, token or token_of_the_environment())

    def send(self, call: Call[T]) -> T:
        """Any of `calls`."""
        return call.read(self._connection.request(call.method, call.path, call.body, call.content_type))

    def events(self, run: str | None = None, last: str | None = None) -> Iterator[Event]:
        """Events from now on, or after the one with the id `last`; of one run, beginning with how it is."""
        return self._connection.events(run, last)

    def live(self, lab: str, every_s: float = 0.5) -> Iterator[LiveSample]:
        """A lab as it is now, again and again, until it ends."""
        for event in self._connection.live(lab, every_s):
            if event.kind == "lab":
                return
            yield LiveSample.model_validate(event.data)

    def deploy(self, name: str, topology: str | Json) -> LabView:
        """A lab that is ready. Raises ClientError if it cannot be deployed."""
        lab = self.create_lab(name, topology)
        while lab.state == "deploying":
            time.sleep(AGAIN_S)
            lab = self.lab(name)
        return _ready(lab)

    def wait(self, run_id: str) -> RunView:
        """A run, once it has ended, or was stopped for now."""
        while (run := self.run(run_id)).state not in ENDED:
            for event in self.events(run_id):
                if event.kind == "run" and event.data["state"] in ENDED:
                    break
        return run

    def measure(self, experiment: str | Json, **options: Any) -> tuple[RunView, Result]:
        """Execute an experiment and wait; `options` as of `create_run`. Raises RunFailed."""
        run = _finished(self.wait(self.create_run(experiment, **options).id))
        return run, self.result(run.id)


class AsyncClient:
    """An orchestrator, for asyncio: an async context. Every method may raise Unreachable and Refused.

    Without `token` it is the one in the file that `$TRANSSHIP_TOKEN_FILE` names, if any.
    """

    health = _Async(calls.health)
    machines = _Async(calls.machines)
    systems = _Async(calls.systems)
    topologies = _Async(calls.topologies)
    experiments = _Async(calls.experiments)
    labs = _Async(calls.labs)
    lab = _Async(calls.lab)
    create_lab = _Async(calls.create_lab)
    destroy_lab = _Async(calls.destroy_lab)
    host = _Async(calls.host)
    counters = _Async(calls.counters)
    network_counters = _Async(calls.network_counters)
    metrics = _Async(calls.metrics)
    lab_metrics = _Async(calls.lab_metrics)
    execute = _Async(calls.execute)
    workloads = _Async(calls.workloads)
    start_workload = _Async(calls.start_workload)
    workload = _Async(calls.workload)
    change_workload = _Async(calls.change_workload)
    stop_workload = _Async(calls.stop_workload)
    picture = _Async(calls.picture)
    hogs = _Async(calls.hogs)
    set_hogs = _Async(calls.set_hogs)
    capture_interface = _Async(calls.capture_interface)
    capture_network = _Async(calls.capture_network)
    network = _Async(calls.network)
    set_network = _Async(calls.set_network)
    changes = _Async(calls.changes)
    apply = _Async(calls.apply)
    cut_network = _Async(calls.cut_network)
    heal_network = _Async(calls.heal_network)
    cut_link = _Async(calls.cut_link)
    heal_link = _Async(calls.heal_link)
    stop_host = _Async(calls.stop_host)
    start_host = _Async(calls.start_host)
    runs = _Async(calls.runs)
    create_run = _Async(calls.create_run)
    estimate = _Async(calls.estimate)
    experiment_schema = _Async(calls.experiment_schema)
    run = _Async(calls.run)
    cancel_run = _Async(calls.cancel_run)
    pause_run = _Async(calls.pause_run)
    resume_run = _Async(calls.resume_run)
    trials = _Async(calls.trials)
    series = _Async(calls.series)
    table = _Async(calls.table)
    result = _Async(calls.result)
    figure = _Async(calls.figure)
    compare = _Async(calls.compare)
    export_run = _Async(calls.export_run)
    import_run = _Async(calls.import_run)

    def __init__(self, address: str = ADDRESS, token: str | None = None) -> None:
        self.address = checked_address(address)
        self._headers = authorization(token or token_of_the_environment())
        self._base = "http://localhost" if self.address.startswith("unix:") else self.address
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        unix = self.address.startswith("unix:")
        connector = aiohttp.UnixConnector(self.address[5:]) if unix else None
        self._session = aiohttp.ClientSession(connector=connector, headers=self._headers)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def send(self, call: Call[T]) -> T:
        """Any of `calls`."""
        headers = {"Content-Type": call.content_type} if call.body is not None else {}
        limit = aiohttp.ClientTimeout(total=REQUEST_S)
        try:
            async with self._opened().request(
                call.method, self._base + call.path, data=call.body, headers=headers, timeout=limit
            ) as answer:
                content = await answer.read()
        except (aiohttp.ClientError, OSError) as error:
            raise self._gone(error) from error
        if answer.status >= 400:
            raise Refused(answer.status, content)
        return call.read(content)

    async def events(self, run: str | None = None, last: str | None = None) -> AsyncIterator[Event]:
        """Events from now on, or after the one with the id `last`; of one run, beginning with how it is."""
        async with aclosing(
            self._follow(events_path(run), {"Last-Event-ID": last} if last else {})
        ) as events:
            async for event in events:
                yield event

    async def live(self, lab: str, every_s: float = 0.5) -> AsyncGenerator[LiveSample, None]:
        """A lab as it is now, again and again, until it ends."""
        async with aclosing(self._follow(live_path(lab, every_s), {})) as events:
            async for event in events:
                if event.kind == "lab":
                    return
                yield LiveSample.model_validate(event.data)

    async def _follow(self, path: str, headers: dict[str, str]) -> AsyncGenerator[Event, None]:
        limit, reader = aiohttp.ClientTimeout(total=None, sock_read=SILENCE_S), Reader()
        try:
            async with self._opened().get(self._base + path, headers=headers, timeout=limit) as answer:
                if answer.status >= 400:
                    raise Refused(answer.status, await answer.read())
                async for data in answer.content.iter_any():
                    for event in reader.feed(data):
                        yield event
        except (aiohttp.ClientError, OSError) as error:
            raise self._gone(error) from error

    async def deploy(self, name: str, topology: str | Json) -> LabView:
        """A lab that is ready. Raises ClientError if it cannot be deployed."""
        lab = await self.create_lab(name, topology)
        while lab.state == "deploying":
            await asyncio.sleep(AGAIN_S)
            lab = await self.lab(name)
        return _ready(lab)

    async def wait(self, run_id: str) -> RunView:
        """A run, once it has ended, or was stopped for now."""
        while (run := await self.run(run_id)).state not in ENDED:
            async for event in self.events(run_id):
                if event.kind == "run" and event.data["state"] in ENDED:
                    break
        return run

    async def measure(self, experiment: str | Json, **options: Any) -> tuple[RunView, Result]:
        """Execute an experiment and wait; `options` as of `create_run`. Raises RunFailed."""
        run = _finished(await self.wait((await self.create_run(experiment, **options)).id))
        return run, await self.result(run.id)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise ClientError("use it as a context: async with AsyncClient(...) as client")
        return self._session

    def _gone(self, error: Exception) -> Unreachable:
        why = str(error) or type(error).__name__
        return Unreachable(f"no answer from the orchestrator at {self.address}: {why}")


def _ready(lab: LabView) -> LabView:
    if lab.state != "ready":
        raise ClientError(f"the lab {lab.name} is {lab.state}: {lab.message}")
    return lab


def _finished(run: RunView) -> RunView:
    if run.state in STOPPED:
        raise RunFailed(run)
    return run
