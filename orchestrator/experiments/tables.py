"""Trials and series as tables, for spreadsheets (CSV) and data frames (Parquet).

Made from trials.jsonl alone, so that every run has them, also one that is under way, failed or imported.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from orchestrator.experiments.files import FORMAT, whole_lines
from orchestrator.experiments.series import Series

Scalar = str | int | float | bool | None
Table = list[dict[str, Scalar]]
KEYS = ("number", "round", "system", "valid")
"""What tells one trial from another; its factors come after them."""
BULKY = ("format", "factors", "counters", "series")
"""Of a trial's line, what is in the table in another way, or not at all."""


def trial_lines(directory: Path) -> list[dict[str, Any]]:
    """The trials of a run, in the order in which they were done. Raises OSError, and ValueError when the file
    is not as it was written."""
    found = [json.loads(line) for line in whole_lines(directory / "trials.jsonl").splitlines()]
    for number, line in enumerate(found, 1):
        # Files may come from elsewhere (archive.py).
        if not isinstance(line, dict) or not isinstance(line.get("factors", {}), dict):
            raise ValueError(f"line {number} of trials.jsonl is no trial")
        if line.get("series") is not None:
            try:
                Series.model_validate(line["series"])
            except ValidationError:
                raise ValueError(f"the series in line {number} of trials.jsonl is none") from None
    return found


def factors(line: Mapping[str, Any]) -> dict[str, Any]:
    """The factors of a trial. Format 1 has no `factors` where they are the number of hogs."""
    found = line.get("factors", {"hogs": line["hogs"]} if "hogs" in line else {})
    return dict(found)


def trials(lines: Iterable[Mapping[str, Any]]) -> Table:
    """A row for each trial, with every single value of it; lists and counters are left to trials.jsonl."""
    found: Table = []
    for attempt, line in enumerate(lines):
        row = _key(attempt, line)
        for name, value in _flat({key: line[key] for key in line if key not in BULKY}):
            row.setdefault(name, value)
        found.append(row)
    return found


def series(lines: Iterable[Mapping[str, Any]]) -> Table:
    """A row for each interval of each trial."""
    found: Table = []
    for attempt, line in enumerate(lines):
        one = line.get("series")
        if not one:
            continue
        for place, moment in enumerate(one["t_s"]):
            row = _key(attempt, line) | {"t_s": moment}
            found.append(row | {name: values[place] for name, values in one["values"].items()})
    return found


def series_lines(lines: Iterable[Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    """The series of each trial that has one, as an object."""
    for attempt, line in enumerate(lines):
        if line.get("series"):
            key = {"attempt": attempt} | {name: line.get(name) for name in KEYS}
            yield {"format": FORMAT, **key, "factors": factors(line), **line["series"]}


def as_csv(rows: Sequence[Mapping[str, Scalar]]) -> bytes:
    """RFC 4180 in UTF-8 with a heading; what a row does not have is empty."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, _names(rows), restval="")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: str(v).lower() if isinstance(v, bool) else v for k, v in row.items()})
    return text.getvalue().encode()


def as_parquet(rows: Sequence[Mapping[str, Scalar]]) -> bytes:
    """A Parquet file whose schema's metadata has the number of the format."""
    import pyarrow  # here: it takes longer to load than most verbs to run
    import pyarrow.parquet

    columns = {name: _column([row.get(name) for row in rows], pyarrow) for name in _names(rows)}
    table = pyarrow.table(columns).replace_schema_metadata({"transship.format": str(FORMAT)})
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(table, sink)
    return bytes(sink.getvalue())


FORMS: dict[str, Callable[[Sequence[Mapping[str, Scalar]]], bytes]] = {
    "csv": as_csv,
    "parquet": as_parquet,
}
"""How a table can be had, by the ending of the file's name."""


def _key(attempt: int, line: Mapping[str, Any]) -> dict[str, Scalar]:
    """`attempt` is the place of the line: a trial that repeats an invalid one has the number of that."""
    return {"attempt": attempt} | {name: line.get(name) for name in KEYS} | factors(line)


def _flat(tree: Mapping[str, Any], place: str = "") -> Iterable[tuple[str, Scalar]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{place}{name}.")
        elif name == "reasons" and isinstance(value, list):
            yield place + name, "; ".join(map(str, value))
        elif not isinstance(value, list):
            yield place + name, value


def _names(rows: Iterable[Mapping[str, Scalar]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _column(values: Sequence[Scalar], pyarrow: Any) -> Any:
    """A column of one type: what differs is written as text."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {bool}:
        return pyarrow.array(values, pyarrow.bool_())
    if kinds <= {int} and all(value is None or -(2**63) <= int(value) < 2**63 for value in values):
        return pyarrow.array(values, pyarrow.int64())
    if kinds <= {int, float}:
        return pyarrow.array([None if v is None else float(v) for v in values], pyarrow.float64())
    return pyarrow.array([None if v is None else str(v) for v in values], pyarrow.string())
