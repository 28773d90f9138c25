"""Reading a topology: YAML text, bytes, a file or a plain dict becomes a `Topology` or a `TopologyError`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from topologies.model import Problem, Topology, TopologyError
from topologies.wiring import Place
from topologies.yaml_text import MAX_BYTES, YamlProblem, parse

MAX_PROBLEMS = 20
"""A description wrong everywhere is reported up to this many places."""

_WORDS = {
    "extra_forbidden": "is not a key known here",
    "missing": "is required",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "list_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "string_pattern_mismatch": "must be 1 to 31 lower-case letters, digits and '-', starting with a letter",
}


def load_topology(source: Path | str | bytes | dict[str, Any]) -> Topology:
    """Read one topology.

    Args:
        source: a `Path` of a YAML file, YAML text (str or bytes, at most 1 MiB), or a parsed mapping.

    Raises:
        TopologyError: for anything wrong, from an unreadable file to a rule that does not hold; every problem
            names its place and, for YAML, its line.
    """
    if isinstance(source, dict):
        return _validate(source, {}, "topology")
    name = str(source) if isinstance(source, Path) else "topology"
    text = _read(source) if isinstance(source, Path) else source
    try:
        value, lines = parse(text)
    except YamlProblem as problem:
        raise TopologyError([_problem((), problem.line, problem.message)], name) from None
    if not isinstance(value, dict):
        raise TopologyError([_problem((), 1, "a topology is a mapping with name, hosts and networks")], name)
    return _validate(value, lines, name)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL byte
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise TopologyError([_problem((), None, f"cannot be read: {reason}")], str(path)) from None


def _validate(value: dict[str, Any], lines: dict[Place, int], name: str) -> Topology:
    try:
        return Topology.model_validate(value)
    except ValidationError as error:
        problems = [_problem(place, _line(place, lines), message) for place, message in _places(error)]
        raise TopologyError(problems[:MAX_PROBLEMS], name) from None
    except RecursionError:
        raise TopologyError([_problem((), None, "is nested too deeply")], name) from None


def _places(error: ValidationError) -> list[tuple[Place, str]]:
    found: list[tuple[Place, str]] = []
    for detail in error.errors(include_url=False, include_input=False):
        context = detail.get("ctx", {})
        if "violations" in context:
            found += context["violations"]
            continue
        place = tuple(part for part in detail["loc"] if part != "[key]")
        found.append((place, _WORDS.get(detail["type"]) or in_words(detail["msg"])))
    return found


def in_words(message: str) -> str:
    """pydantic's message without its own words for what it speaks of."""
    return re.sub(r"^\w+ should", "must", message).replace(" after validation", "")


def _line(place: Place, lines: dict[Place, int]) -> int | None:
    while place and place not in lines:
        place = place[:-1]
    return lines.get(place)


def _problem(place: Place, line: int | None, message: str) -> Problem:
    shown = ".".join(_printable(str(part)) for part in place)
    return {"place": shown, "line": line, "message": message}


def _printable(text: str) -> str:
    clean = text.encode("unicode_escape").decode("ascii")
    return clean if len(clean) <= 60 else clean[:57] + "..."
