"""What every run that forwards datagrams does: trials on a site, and the lab as it was at the end."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from agents.errors import AgentError
from orchestrator.experiments.case import Budget, Case, Site
from orchestrator.experiments.journal import Journal
from orchestrator.experiments.plan import ForwardingPlan
from orchestrator.experiments.processes import TrialFailed
from orchestrator.experiments.trial import Carried, measure
from topologies.model import Impairments

log = logging.getLogger(__name__)

RESTORE_S = 20.0

T = TypeVar("T", bound=Carried)
S = TypeVar("S", bound=Site)


class Measuring(Generic[T, S]):
    """A site, and the journal of the trials that are done on it. `networks` are those that change, `lossy` of
    these what they lose, `cut` what is cut at times."""

    def __init__(
        self,
        site: S,
        record: Mapping[str, Any],
        networks: Iterable[str],
        journal: Journal[T],
        lossy: Iterable[str] = (),
        cut: Iterable[tuple[str, str | None]] = (),
    ) -> None:
        self.site, self.journal = site, journal
        self._rates = {name: record["networks"][name]["rate_mbps"] for name in networks}
        self._losses = {
            name: Impairments.model_validate(record["networks"][name]["impairments"]) for name in lossy
        }
        self._cut = list(cut)
        # A datagram of an earlier trial, or run, must never be taken for one of this.
        flows = itertools.count(random.SystemRandom().randrange(1, 2**31))
        self.flow: Callable[[], int] = lambda: next(flows)

    async def trial(self, kind: type[T], named: Mapping[str, Any], case: Case, plan: ForwardingPlan) -> T:
        """One trial, kept in the journal, also when it comes to no end. Raises as `measure`."""
        flow = self.flow()
        try:
            measured = await measure(self.site, case, plan, flow, self.journal.happened)
        except (TrialFailed, AgentError) as error:
            self.journal.keep(kind.of_failure(named, case.rate_mbps, flow, str(error)))
            raise
        return self.journal.keep(kind.of(named, measured))

    async def restore(self, hosts: Mapping[str, Budget | None]) -> None:
        """Takes the load and the limits away again. A dead agent has taken its lab's load with it."""
        try:
            async with asyncio.timeout(RESTORE_S):
                await self.site.unload(hosts, {host: one for host, one in hosts.items() if one is not None})
                await self.site.heal(self._cut)
                await self.site.set_rates(self._rates)
                await self.site.set_losses(self._rates, self._losses)
        except (AgentError, TrialFailed, TimeoutError) as error:
            log.warning("could not restore lab %s: %s", self.site.lab, error or "no answer in time")


def stacks(trials: list[T]) -> dict[str, dict[str, Any]]:
    """Back end and mode that each system's managers reported; more than one value is joined, not hidden."""
    found: dict[str, dict[str, set[str]]] = {}
    for trial in trials:
        for label, manager in trial.results.items():
            if "manager" not in label:
                continue
            for key in ("backend", "mode", "segmentation", "protection", "zeroing", "recycling"):
                if key in manager:
                    found.setdefault(trial.system, {}).setdefault(key, set()).add(str(manager[key]))
    return {
        system: {key: " | ".join(sorted(values)) for key, values in each.items()}
        for system, each in found.items()
    }
