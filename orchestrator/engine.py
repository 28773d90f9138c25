"""The shipped experiments, as the queue of runs and the API see them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents.client import Machine
from agents.errors import Problem
from orchestrator.experiments.definitions import EXPERIMENTS, Definition, Options
from orchestrator.experiments.local.definition import LOCAL, LocalDefinition
from orchestrator.runs import Report
from orchestrator.shipped import as_json
from orchestrator.store import Run
from topologies import resolve

SYSTEMS = {
    "linux": "what Unix programs do: one datagram for each recv and send",
    "linux-batch": "the best conventional code of today: recvmmsg and sendmmsg",
    "copy": "conventional semantics, private buffers, on the user-space stack of shipping",
    "shipping": "containers move from owner to owner, unmapped and never copied",
}


ALL: dict[str, Definition | LocalDefinition] = {**EXPERIMENTS, **LOCAL}


class LocalEngine:
    """Executes experiments on this machine."""

    def experiments(self) -> list[dict[str, Any]]:
        """Every experiment, with its whole definition."""
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
        """The topology an experiment needs in a profile. Raises Problem 422 for unknown ones."""
        profile = Options.model_validate(options).profile
        topologies = self._definition(experiment).topologies
        if profile not in topologies:
            known = ", ".join(topologies)
            detail = f"profile: experiment {experiment} has no profile {profile!r}; it has {known}"
            raise Problem(422, detail, "profile")
        return as_json(resolve(topologies[profile]))

    async def execute(self, machine: Machine, lab: str, run: Run, directory: Path, report: Report) -> str:
        """Execute in a deployed lab; the files of the run are in `directory`. Returns the verdict."""
        # Here and not above: it brings numpy and matplotlib, which nothing but a run needs.
        from orchestrator.experiments.local import runner as local
        from orchestrator.experiments.processes import TrialFailed
        from orchestrator.experiments.runner import execute

        definition = self._definition(run.experiment)
        options = Options.model_validate(run.options)
        try:
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
