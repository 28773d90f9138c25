"""Trials and series of a run as tables, and the series themselves."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from orchestrator.experiments import tables
from orchestrator.experiments.series import forwarded, handed_over
from tests.orchestrator.run_files import FILES, written


async def lines(tmp_path: Path) -> list[dict[str, Any]]:
    await written(tmp_path, {"linux": [100.0, None], "shipping": [150.0, 151.0]})
    return tables.trial_lines(tmp_path)


async def test_a_directory_has_every_file_with_the_number_of_its_format(tmp_path: Path) -> None:
    await lines(tmp_path)
    assert set(os.listdir(tmp_path)) == FILES
    for name in ("definition.json", "environment.json", "outcomes.json"):
        assert json.loads((tmp_path / name).read_text())["format"] == 2
    assert json.loads((tmp_path / "result.json").read_text())["environment"]["format"] == 2
    assert {line["format"] for line in tables.trial_lines(tmp_path)} == {2}
    assert (tmp_path / "figure.svg").read_text().startswith("<?xml")


async def test_csv_and_parquet_have_the_same_rows(tmp_path: Path) -> None:
    found = await lines(tmp_path)
    for name, rows in (("trials", tables.trials(found)), ("series", tables.series(found))):
        text = (tmp_path / f"{name}.csv").read_bytes().decode()
        assert text.encode() == tables.as_csv(rows)
        frame = pyarrow.parquet.read_table(tmp_path / f"{name}.parquet")
        assert frame.schema.metadata[b"transship.format"] == b"2"
        again = frame.to_pylist()
        assert [{k: v for k, v in row.items() if v is not None} for row in again] == [
            {k: v for k, v in row.items() if v is not None} for row in rows
        ]
        assert [row["system"] for row in csv.DictReader(io.StringIO(text))] == [r["system"] for r in again]


async def test_a_trial_is_a_row_of_single_values(tmp_path: Path) -> None:
    rows = tables.trials(await lines(tmp_path))
    assert [row["attempt"] for row in rows] == [0, 1, 2, 3]
    invalid = next(row for row in rows if not row["valid"])
    assert (invalid["reasons"], invalid["value"]) == ("books differ: 7 bytes", None)
    assert rows[0]["results.copier.bytes"] == 64 << 20
    assert "results.copier.bins" not in rows[0]
    assert tables.as_csv(rows).splitlines()[0].startswith(b"attempt,number,round,system,valid,")


def test_a_trial_of_format_1_has_its_factors_too() -> None:
    assert tables.factors({"number": 0, "hogs": 3}) == {"hogs": 3}
    assert tables.factors({"factors": {"map": "none"}, "hogs": 3}) == {"map": "none"}
    assert tables.factors({}) == {}


def test_what_is_not_of_one_type_is_text_in_parquet() -> None:
    rows: tables.Table = [{"a": 1, "b": 1, "c": True}, {"a": "x", "b": 0.5, "c": None}, {"b": None}]
    table = pyarrow.parquet.read_table(io.BytesIO(tables.as_parquet(rows)))
    assert [str(field.type) for field in table.schema] == ["string", "double", "bool"]
    assert table.to_pylist()[0] == {"a": "1", "b": 1.0, "c": True}
    assert tables.as_csv([]) == b"\r\n"


def samples(counters: dict[str, list[int]], shift_ns: int = 0) -> dict[str, Any]:
    count = len(next(iter(counters.values())))
    moments = [10_000_000_000 + i * 500_000_000 + shift_ns for i in range(count)]
    return {"interval_s": 0.5, "t_ns": moments, "counters": counters}


def test_intervals_of_source_and_sink_are_put_side_by_side() -> None:
    source = samples({"datagrams_out": [0, 1000, 2000, 3000]}, shift_ns=90_000)
    sink = samples({"datagrams_unique": [0, 900, 1700], "datagrams_expected": [0, 900, 1900]})
    found = forwarded(source, sink, 10_500_000_000, 1250)
    assert found is not None
    assert found.t_s == [0.0, 0.5, 1.0]
    assert found.values["offered_mbps"] == [20.0, 20.0, 20.0]
    assert found.values["throughput_mbps"] == [18.0, 16.0, None]
    assert found.values["loss"] == [0.0, pytest.approx(0.2), None]


def test_a_late_sample_says_what_was_between_and_its_gap_is_empty() -> None:
    sink = samples({"datagrams_unique": [0, 100, 300], "datagrams_expected": [0, 100, 300]})
    sink["t_ns"] = [10_000_000_000, 10_500_000_000, 11_500_000_000]
    found = forwarded(samples({"datagrams_out": [0, 100, 200, 300]}), sink, 10_000_000_000, 1250)
    assert found is not None
    assert found.values["throughput_mbps"] == [2.0, None, 2.0]


def test_without_samples_there_is_no_series() -> None:
    one = samples({"datagrams_out": [0, 1]})
    assert forwarded(None, one, 0, 1) is None and forwarded(one, None, 0, 1) is None
    assert handed_over(None, 0) is None
    assert handed_over(samples({"bytes_in": [0]}), 0) is None
    found = handed_over(samples({"bytes_in": [0, 1_000_000]}), 10_000_000_000)
    assert found is not None and found.values == {"mbytes_per_s": [2.0]}


@pytest.mark.parametrize("torn", [b'{"number": 9', b"\xff\xfe", b""])
async def test_a_torn_last_line_is_not_shown(tmp_path: Path, torn: bytes) -> None:
    found = await lines(tmp_path)
    with (tmp_path / "trials.jsonl").open("ab") as file:
        file.write(torn)
    assert tables.trial_lines(tmp_path) == found
