"""The processes of a trial on a lab: started one by one, and all stopped whatever happens."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from agents.client import Machine
from agents.errors import AgentError

log = logging.getLogger(__name__)

LOOK_S = 20.0
"""An agent lets nobody wait much longer than this at once."""
STOP_S = 30.0
"""An agent kills a workload that does not stop after 10 s; what takes longer than this is given up."""


LOOKS = 10
"""How often something is looked at, at most, to know the moment of what was seen."""

T = TypeVar("T")


class TrialFailed(Exception):
    """A trial could not be done: something died or was refused. The message says what, where and why."""


class Died(TrialFailed):
    """A process that ran failed or was killed."""


async def dated(look: Callable[[], Awaitable[T]], within_s: float) -> tuple[T, float]:
    """What a request finds, and the moment of that: the middle of the request.

    It is made again when it took more than `within_s`: then its middle says little of the moment.
    """
    for _ in range(LOOKS):
        asked = time.monotonic()
        found = await look()
        answered = time.monotonic()
        if answered - asked <= within_s:
            break
    return found, (asked + answered) / 2


class Processes:
    """The workloads of one trial; leaving the context stops every one that still runs."""

    def __init__(self, machine: Machine, lab: str) -> None:
        self._machine, self._lab = machine, lab
        self._hosts: dict[str, str] = {}
        self._names: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        left = list(self._hosts)[::-1]
        if left:
            # Shielded: a cancelled run must leave no process behind.
            await asyncio.shield(asyncio.gather(*(self._give_up(one) for one in left)))

    async def look(self, workload: str, wait_s: float = 0.0) -> dict[str, Any]:
        """A workload's state, `wait_s` as in `Machine.workload`. Raises Died when it has failed."""
        state = await self._machine.workload(self._lab, self._hosts[workload], workload, wait_s=wait_s)
        return self._good(workload, state)

    async def ended(self, workload: str, within_s: float) -> None:
        """Waits until a workload is done. Raises Died when it failed, TrialFailed when it takes longer."""
        deadline = time.monotonic() + within_s
        while (left := deadline - time.monotonic()) > 0:
            if (await self.look(workload, wait_s=min(left, LOOK_S)))["state"] == "done":
                return
        raise TrialFailed(f"{self._names[workload]} did not end within {within_s:g} s")

    async def finish(self, workload: str) -> dict[str, Any]:
        """Stops a workload (one that is done stays so) and returns its final state, which has a result.

        Raises Died when it failed, TrialFailed when it has no result.
        """
        state = await self._machine.stop(self._lab, self._hosts[workload], workload)
        state = self._good(workload, state)
        del self._hosts[workload]
        if not isinstance(state.get("result"), Mapping):
            raise TrialFailed(f"{self._names[workload]} ended without a result")
        return state

    async def start(
        self,
        host: str,
        workload: str,
        system: str,
        params: Mapping[str, Any],
        sample_s: float | None = None,
    ) -> str:
        """Starts a workload and returns its id once it is ready. Raises TrialFailed when it is refused.

        With `sample_s` its final state has a series of its counters.
        """
        name = f"{workload} ({system}) on host {host}"
        spec = {"workload": workload, "system": system, "params": dict(params), "sample_s": sample_s}
        starting = asyncio.ensure_future(self._machine.start(self._lab, host, spec))
        try:
            found = await asyncio.shield(starting)
        except asyncio.CancelledError:
            # The agent may be starting it all the same: learn its id, so that it can be stopped.
            found = await starting
            self._hosts[found], self._names[found] = host, name
            raise
        except AgentError as error:
            raise TrialFailed(f"{name} did not start: {error}") from error
        self._hosts[found], self._names[found] = host, name
        return found

    def _good(self, workload: str, state: dict[str, Any]) -> dict[str, Any]:
        if state["state"] == "failed":
            raise Died(f"{self._names[workload]} failed: {state.get('message') or 'no reason given'}")
        return state

    async def _give_up(self, workload: str) -> None:
        try:
            async with asyncio.timeout(STOP_S):
                await self._machine.stop(self._lab, self._hosts[workload], workload)
        except (AgentError, TimeoutError) as error:
            log.warning("could not stop %s: %s", self._names[workload], error or "no answer")
