"""Copying a file: one process, whose copy is compared with the original byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from types import TracebackType

from agents.errors import AgentError
from orchestrator.experiments.books import BOOKS_DIFFER
from orchestrator.experiments.local.definition import Cell, LocalDefinition
from orchestrator.experiments.local.plan import POOL_PAGES, LocalPlan
from orchestrator.experiments.local.trial import LocalTrial, Performed, Place
from orchestrator.experiments.processes import Died, Processes, TrialFailed

GIVE_UP_S = 60.0
BLOCK = 1 << 20


class Copies:
    """A scene: a file of random bytes, copied once to warm up and once to measure."""

    def __init__(self, definition: LocalDefinition, place: Place) -> None:
        self._definition, self._place = definition, place
        # Below the lab's own directory: it goes with the lab even when nobody is left to remove it.
        self._directory = f"{place.run_dir}/cp-{secrets.token_hex(4)}"
        self._written = 0

    async def __aenter__(self) -> Copies:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # With a dead agent the directory cannot be reached; the run fails for that reason, not for this.
        with contextlib.suppress(AgentError, TrialFailed):
            await asyncio.shield(self._run("rm", "-rf", "--", self._directory))

    async def perform(self, cell: Cell, number: int, plan: LocalPlan) -> Performed:
        source, target = f"{self._directory}/source", f"{self._directory}/copy-{number}"
        if not self._written:
            count = max(1, plan.file_bytes // BLOCK)
            await self._run("mkdir", "-m", "700", "--", self._directory)
            await self._run(
                "dd", "if=/dev/urandom", f"of={source}", f"bs={BLOCK}", f"count={count}", "conv=fsync"
            )
            self._written = count * BLOCK
        params = {
            "source": source,
            "target": target,
            "operation_bytes": self._definition.operation_bytes,
        }
        if cell.system != "linux":
            params["pages"] = POOL_PAGES
        try:
            # The first one fills caches and allocates what the second one uses.
            for _ in ("warm-up", "measured"):
                async with Processes(self._place.machine, self._place.lab) as processes:
                    one = await processes.start(self._place.host, "copier", cell.system, params)
                    await processes.ended(one, GIVE_UP_S)
                    result = (await processes.finish(one))["result"]
            same = await self._same(source, target)
        except Died as error:
            return Performed({}, None, [str(error)])
        finally:
            await self._run("rm", "-f", "--", target)
        results = {"copier": {**result, "same": same}}
        reasons = []
        if int(result["bytes"]) != self._written:
            reasons.append(f"{BOOKS_DIFFER}{self._written} bytes in the source, {result['bytes']} copied")
        seconds = (int(result["t1_ns"]) - int(result["t0_ns"])) / 1e9
        if seconds <= 0:
            return Performed(results, None, [*reasons, "the copier measured no time"])
        return Performed(results, self._written / seconds / 1e6, reasons)

    def missed(self, trials: list[LocalTrial]) -> list[str]:
        """That every copy is right to the byte, and that its loop makes no more calls than read and write."""
        wrong = [
            f"the copy of trial {trial.number} ({trial.system}) differs from its source"
            for trial in trials
            if not trial.results["copier"]["same"]
        ]
        turns = {
            system: max(
                (int(t.results["copier"]["operations"]) for t in trials if t.system == system), default=0
            )
            for system in self._definition.systems
        }
        usual = turns["linux"]
        # A turn is two calls in both: a read and a write.
        more = [
            f"the loop of {system} took {took} turns, that of linux {usual}"
            for system, took in turns.items()
            if usual and took > usual
        ]
        return wrong + more

    async def _same(self, source: str, target: str) -> bool:
        answer = await self._place.machine.exec(
            self._place.lab, self._place.host, ["cmp", "-s", source, target]
        )
        return bool(answer["exit"] == 0)

    async def _run(self, *argv: str) -> str:
        """What a command on the host prints. Raises TrialFailed when it fails."""
        answer = await self._place.machine.exec(self._place.lab, self._place.host, argv)
        if answer["exit"] != 0:
            raise TrialFailed(
                f"{' '.join(argv)} failed on host {self._place.host}: {answer['stderr'].strip()}"
            )
        return str(answer["stdout"])
