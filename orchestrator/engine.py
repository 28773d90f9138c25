"""The experiments, shipped ones and users' own, as the queue of runs and the API see them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.client import Machine
from agents.errors import Problem
from orchestrator.experiments.definitions import EXPERIMENTS, Definition, Options
from orchestrator.experiments.local.definition import LOCAL, LocalDefinition
from orchestrator.experiments.systems import SYSTEMS
from orchestrator.runs import Report
from orchestrator.shipped import as_json, checked
from orchestrator.store import Run
from topologies import load_topology, resolve

if TYPE_CHECKING:
    from orchestrator.experiments.own.experiment import Own

ALL: dict[str, Definition | LocalDefinition] = {**EXPERIMENTS, **LOCAL}

FIELD = "experiment"
"""Where the request for a run has a user's own experiment."""


class LocalEngine:
    """Executes experiments on this machine."""

    def experiments(self) -> list[dict[str, Any]]:
        """Every shipped experiment, with its whole definition."""
        return [
            {
                "name": name,
                "title": definition.title,
                "source": definition.source,
                "topologies": dict(definition.topologies),
                "systems": list(definition.systems),
                "definition": definition.model_dump(mode="json"),
            }
            for name, definition in ALL.items()
        ]

    def systems(self) -> list[dict[str, Any]]:
        """Every I/O system that an experiment can use."""
        return [{"name": name, "summary": summary} for name, summary in SYSTEMS.items()]

    def topology(self, experiment: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """The topology an experiment needs: a shipped one in a profile, or what `options["document"]` says.

        Raises Problem 422 for what there is not, and for a document that makes no experiment.
        """
        if "document" in options:
            return as_json(_own(options["document"]).topology)
        profile = _options(options).profile
        topologies = self._definition(experiment).topologies
        if profile not in topologies:
            known = ", ".join(topologies)
            detail = f"profile: experiment {experiment} has no profile {profile!r}; it has {known}"
            raise Problem(422, detail, "profile")
        return as_json(resolve(topologies[profile]))

    def estimate(self, experiment: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """How much a run will be: {"combinations", "trials", "seconds"}. Raises Problem 422 as `topology`."""
        from orchestrator.experiments import estimates
        from orchestrator.experiments.own import plan

        self.topology(experiment, options)
        asked = _options(options)
        if "document" in options:
            return vars(plan.estimate(_own(options["document"]), asked))
        return vars(estimates.shipped(self._definition(experiment), asked))

    async def execute(self, machine: Machine, lab: str, run: Run, directory: Path, report: Report) -> str:
        """Execute in a deployed lab; the files of the run are in `directory`. Returns the verdict."""
        # Here and not above: it brings numpy and matplotlib, which nothing but a run needs.
        from orchestrator.experiments.local import runner as local
        from orchestrator.experiments.own import runner as own
        from orchestrator.experiments.processes import TrialFailed
        from orchestrator.experiments.runner import execute

        options = _options(run.options)
        try:
            if "document" in run.options:
                experiment = await asyncio.to_thread(_own, run.options["document"])
                result = await own.execute(machine, lab, experiment, options, directory, report)
                return result.verdict
            definition = self._definition(run.experiment)
            if isinstance(definition, LocalDefinition):
                result = await local.execute(machine, lab, definition, options, directory, report)
            else:
                result = await execute(machine, lab, definition, options, directory, report)
        except TrialFailed as error:
            raise Problem(500, str(error)) from error
        return result.verdict

    def _definition(self, experiment: str) -> Definition | LocalDefinition:
        if experiment not in ALL:
            known = ", ".join(ALL)
            raise Problem(
                422, f"experiment: there is no experiment {experiment!r}; there are {known}", "experiment"
            )
        return ALL[experiment]


def _options(options: Mapping[str, Any]) -> Options:
    return Options.model_validate({name: value for name, value in options.items() if name != "document"})


def _own(written: Mapping[str, Any]) -> Own:
    """What a user wrote, checked whole. Raises Problem 422 naming every place at fault."""
    from orchestrator.experiments.own.experiment import build
    from orchestrator.experiments.own.faults import DocumentError, read

    try:
        document = read(written)
        return build(document, load_topology(checked(document.topology, f"{FIELD}.topology")))
    except DocumentError as error:
        faults = [
            {"place": f"{FIELD}.{place}".rstrip("."), "message": message} for place, message in error.faults
        ]
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    first = faults[0]
    raise Problem(422, f"{first['place']}: {first['message']}{more}", first["place"], faults)
