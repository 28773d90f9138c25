"""An experiment in a file: read here, so that errors can name the file and the line."""

from pathlib import Path
from typing import Any

from orchestrator.cli.client import ProblemReply
from orchestrator.cli.failures import USAGE, Failure

SUFFIXES = (".yaml", ".yml", ".json")
PREFIX = "experiment."
"""How the orchestrator names the document's places in a request."""


def is_document(experiment: str) -> bool:
    """Whether a user means a file rather than a shipped experiment."""
    return Path(experiment).suffix in SUFFIXES


class DocumentFile:
    """A document and where its entries are. Raises Failure when it cannot be read."""

    def __init__(self, path: Path) -> None:
        from topologies.yaml_text import MAX_BYTES, YamlProblem, parse

        self._path = path
        try:
            with path.open("rb") as stream:
                value, lines = parse(stream.read(MAX_BYTES + 1))
        except OSError as error:
            raise Failure(f"{path}: cannot be read: {error.strerror or error}", USAGE) from None
        except YamlProblem as problem:
            raise Failure(self._told(problem.line, problem.message), USAGE) from None
        if not isinstance(value, dict):
            message = "an experiment is a mapping with name, topology and workloads"
            raise Failure(self._told(1, message), USAGE)
        self.value: dict[str, Any] = value
        self._lines = {".".join(map(str, place)): line for place, line in lines.items()}
        if isinstance(value.get("topology"), str):
            value["topology"] = self._topology(value["topology"])

    def explained(self, problem: ProblemReply) -> Failure:
        """What the orchestrator refused, with this file's name and lines."""
        field = problem.field or ""
        if problem.status != 422 or not field.startswith(PREFIX.rstrip(".")):
            return problem
        told = []
        for fault in problem.problems or [{"place": field, "message": str(problem)}]:
            place = str(fault["place"]).removeprefix(PREFIX)
            message = str(fault["message"]).removeprefix(f"{fault['place']}: ")
            told.append(self._told(self._line(place), f"{place}: {message}"))
        return Failure("\n".join(told), USAGE)

    def _topology(self, spec: str) -> Any:
        """A shipped topology's name as it is; a file's or a Mininet topology as the orchestrator takes it."""
        from topologies import TopologyError, resolve, shipped

        if spec in shipped() or spec.startswith("chain,"):
            return spec
        beside = self._path.parent / spec
        try:
            return resolve(str(beside) if is_document(spec) or ".py:" in spec else spec).model_dump(
                mode="json"
            )
        except TopologyError as error:
            raise Failure(self._told(self._line("topology"), f"topology: {error}"), USAGE) from None

    def _line(self, place: str) -> int | None:
        while place and place not in self._lines:
            place = place.rpartition(".")[0]
        return self._lines.get(place)

    def _told(self, line: int | None, message: str) -> str:
        return f"{self._path}:{line}: {message}" if line else f"{self._path}: {message}"
