"""What runs left, over REST: tables, series, figure, comparison, and a run as one file."""

from __future__ import annotations

import csv
import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from orchestrator.services import STORE
from orchestrator.store import Store
from tests.orchestrator.api import Api
from tests.orchestrator.fakes import PNG
from tests.orchestrator.run_files import VALUES, stored

A, B = "20260101-000000-aaaaaa", "20260101-000001-bbbbbb"
ZIP = {"Content-Type": "application/zip"}


def store_of(api: Api) -> Store:
    assert api.client.app is not None
    store: Store = api.client.app[STORE]
    return store


async def bytes_of(api: Api, path: str, content_type: str) -> bytes:
    async with api.client.get(f"/api/v1/runs/{path}") as answer:
        assert (answer.status, answer.content_type) == (200, content_type), await answer.text()
        return await answer.read()


async def upload(api: Api, content: bytes, status: int, headers: dict[str, str] = ZIP) -> Any:
    async with api.client.post("/api/v1/imports", data=content, headers=headers) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json(content_type=None), answer.headers.get("Location")


async def test_trials_and_series_in_each_form(api: Api) -> None:
    await stored(store_of(api), A)
    for what, first in (("trials", "attempt"), ("series", "attempt")):
        lines = await bytes_of(api, f"{A}/{what}", "application/x-ndjson")
        assert {json.loads(line)["format"] for line in lines.splitlines()} == {2}
        assert len(lines.splitlines()) == 10
        text = (await bytes_of(api, f"{A}/{what}?format=csv", "text/csv")).decode()
        rows = list(csv.DictReader(io.StringIO(text)))
        assert next(iter(rows[0])) == first
        parquet = await bytes_of(api, f"{A}/{what}?format=parquet", "application/vnd.apache.parquet")
        assert pyarrow.parquet.read_table(io.BytesIO(parquet)).num_rows == len(rows)
        problem = await api.send("GET", f"/api/v1/runs/{A}/{what}?format=xml", status=422)
        assert problem["field"] == "format"
    series = json.loads(lines.splitlines()[0])
    assert (series["interval_s"], series["t_s"]) == (0.5, [0.5, 1.0])
    assert list(series["values"]) == ["mbytes_per_s"]


async def test_a_run_under_way_has_its_trials_in_each_form(api: Api) -> None:
    run = await api.run("fddi")
    assert await bytes_of(api, f"{run['id']}/trials?format=csv", "text/csv")
    assert await bytes_of(api, f"{run['id']}/series?format=csv", "text/csv") == b"\r\n"
    assert await bytes_of(api, f"{run['id']}/series", "application/x-ndjson") == b""


@pytest.mark.parametrize(
    "line",
    [
        "[1]",
        "{",
        '{"factors": 7}',
        '{"series": 7}',
        '{"series": {"interval_s": 0.5, "t_s": [1, 2], "values": {"loss": [0]}}}',
    ],
)
async def test_trials_that_are_not_as_they_were_written_are_told(api: Api, line: str) -> None:
    run = await stored(store_of(api), A)
    (store_of(api).directory(run.id) / "trials.jsonl").write_text(line + "\n")
    for path in ("trials?format=csv", "series?format=parquet", "series"):
        assert (await api.send("GET", f"/api/v1/runs/{A}/{path}", status=409))["field"] == "run"


async def test_the_figure_as_png_and_svg_is_a_picture_and_nothing_more(api: Api) -> None:
    await stored(store_of(api), A)
    assert (await bytes_of(api, f"{A}/figure", "image/png")).startswith(PNG[:8])
    async with api.client.get(f"/api/v1/runs/{A}/figure?format=svg") as answer:
        assert answer.content_type == "image/svg+xml"
        assert "sandbox" in answer.headers["Content-Security-Policy"]
        assert "<svg" in await answer.text()
    assert (await api.send("GET", f"/api/v1/runs/{A}/figure?format=gif", status=422))["field"] == "format"


async def test_two_runs_are_compared(api: Api) -> None:
    await stored(store_of(api), A)
    faster = {system: [1.2 * value for value in values] for system, values in VALUES.items()}
    await stored(store_of(api), B, values=faster)
    found = await api.send("GET", f"/api/v1/runs/{A}/comparison/{B}")
    assert [row["value"]["finding"] for row in found["rows"]] == ["higher", "higher"]
    assert found["ratios"][0]["value"]["finding"] == "cannot tell"


async def test_what_cannot_be_compared_is_a_conflict_that_names_the_run(api: Api) -> None:
    await stored(store_of(api), A)
    fddi = (await api.run("fddi"))["id"]
    running = (await api.send("POST", "/api/v1/runs", {"experiment": "endless"}, 202))["id"]
    for other, status, says in (
        (fddi, 409, f"the run {fddi} has no outcomes.json"),
        (running, 409, "nothing to compare yet"),
        (B, 404, f"there is no run '{B}'"),
    ):
        problem = await api.send("GET", f"/api/v1/runs/{A}/comparison/{other}", status=status)
        assert says in problem["detail"]
    assert problem["field"] == "run"


async def test_a_run_is_exported_and_imported_elsewhere(api: Api, tmp_path: Path) -> None:
    await stored(store_of(api), A)
    content = await bytes_of(api, f"{A}/archive", "application/zip")
    with zipfile.ZipFile(io.BytesIO(content)) as one:
        assert one.testzip() is None and "manifest.json" in one.namelist()
    problem, _ = await upload(api, content, 409)
    assert problem["detail"] == f"there is a run {A} already"
    # As if it came from another machine.
    store = store_of(api)
    await store._do(lambda database: database.execute("DELETE FROM runs").connection.commit())
    for path in store.directory(A).iterdir():
        path.unlink()
    store.directory(A).rmdir()
    run, location = await upload(api, content, 201)
    assert location == f"/api/v1/runs/{A}"
    assert set(run["imported"]) == {"machine", "exported", "version", "imported"}
    assert await api.send("GET", location) == run
    assert (await api.send("GET", f"{location}/result"))["verdict"] == "reproduced"
    assert not [name for name in os.listdir(tmp_path) if name.startswith("tmp")]


async def test_an_upload_that_is_no_run_is_refused(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    problem, _ = await upload(api, b"{}", 415, {"Content-Type": "application/json"})
    assert problem["field"] == "Content-Type"
    problem, _ = await upload(api, b"no zip", 422)
    assert "the archive is damaged" in problem["detail"]
    monkeypatch.setattr("orchestrator.archive.MAX_ARCHIVE", 1000)
    problem, _ = await upload(api, bytes(2000), 413)
    assert "at most" in problem["detail"]
    assert (await api.send("GET", "/api/v1/runs"))["runs"] == []


async def test_a_run_that_goes_on_is_not_exported(api: Api) -> None:
    run = await api.send("POST", "/api/v1/runs", {"experiment": "endless"}, 202)
    problem = await api.send("GET", f"/api/v1/runs/{run['id']}/archive", status=409)
    assert "nothing to export yet" in problem["detail"]
