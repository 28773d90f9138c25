"""What runs left: trials, series, result and figure; compared, exported and imported."""

import asyncio
import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from agents.errors import Problem
from orchestrator import archive
from orchestrator.api.problems import validated
from orchestrator.api.routing import Media, reply
from orchestrator.api.run_routes import location, run_view
from orchestrator.experiments import compare, tables
from orchestrator.experiments.files import whole_lines
from orchestrator.services import RUNS, STORE
from orchestrator.store import Run, explain

T = TypeVar("T")
LINES = Media("application/x-ndjson", "one JSON object in each line")
CSV = Media("text/csv", "a table with a heading")
PARQUET = Media("application/vnd.apache.parquet", "the same table as a Parquet file")
PNG = Media("image/png", "a PNG")
SVG = Media("image/svg+xml", "an SVG")
ZIP = Media("application/zip", "an exported run (docs/results.md)")
# An imported figure is somebody else's; shown by a browser, it must be a picture and nothing more.
PICTURE_ONLY = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox",
    "X-Content-Type-Options": "nosniff",
}


class TableQuery(BaseModel):
    """In which form a table is wanted."""

    model_config = ConfigDict(extra="forbid")
    format: Literal["ndjson", "csv", "parquet"] = Field(
        default="ndjson", description="lines of JSON, with all there is; or a table of single values"
    )


class FigureQuery(BaseModel):
    """In which form the figure is wanted."""

    model_config = ConfigDict(extra="forbid")
    format: Literal["png", "svg"] = "png"


async def get_trials(request: web.Request) -> web.StreamResponse:
    """The trials so far: one JSON object in each line, or one row of a table."""
    directory, form = await _table(request)
    if form == "ndjson":
        return _lines(await asyncio.to_thread(whole_lines, directory / "trials.jsonl"))
    return await _rows(directory, form, tables.trials)


async def get_series(request: web.Request) -> web.StreamResponse:
    """What happened within the trials, interval by interval: an object for each trial, or a row for each
    interval."""
    directory, form = await _table(request)
    if form == "ndjson":
        found = await _whole(lambda: [json.dumps(one) for one in _series(directory)])
        return _lines("".join(f"{line}\n" for line in found).encode())
    return await _rows(directory, form, tables.series)


async def get_result(request: web.Request) -> web.StreamResponse:
    """The result, in the shape of `reproduce --format json`."""
    path = await _left(request, "result.json")
    return web.FileResponse(path, headers={"Content-Type": "application/json"})


async def get_figure(request: web.Request) -> web.StreamResponse:
    """The figure."""
    form = validated(FigureQuery, dict(request.query)).format
    path = await _left(request, f"figure.{form}")
    kind = {"png": PNG, "svg": SVG}[form].content_type
    return web.FileResponse(path, headers={"Content-Type": kind, **PICTURE_ONLY})


async def compare_runs(request: web.Request) -> web.Response:
    """Another run beside this one: what differs by more than the trials scatter, and what cannot be told."""
    finished = []
    for name in ("run", "other"):
        run = await _ended(request, request.match_info[name], name, "nothing to compare")
        directory = request.app[STORE].directory(run.id)
        try:
            finished.append(await asyncio.to_thread(compare.load, run.id, directory))
        except compare.CompareError as error:
            raise Problem(409, str(error), name) from error
    try:
        return reply(await asyncio.to_thread(compare.compare, *finished))
    except compare.CompareError as error:
        raise Problem(409, str(error), "other") from error


async def export_run(request: web.Request) -> web.Response:
    """The run as one file, to keep or to hand on."""
    store = request.app[STORE]
    run = await _ended(request, request.match_info["run"], "run", "nothing to export")

    def packed() -> Any:
        # It has no name, so that nothing is left of it however this ends; aiohttp closes it.
        file = tempfile.TemporaryFile(dir=store.state)  # noqa: SIM115
        archive.export(run, store.directory(run.id), file)
        file.seek(0)
        return file

    try:
        body = await asyncio.to_thread(packed)
    except archive.ArchiveError as error:
        raise Problem(409, str(error), "run") from error
    except OSError as error:
        raise explain(error, store.state) from error
    name = f'attachment; filename="{run.id}.zip"'
    return web.Response(body=body, content_type=ZIP.content_type, headers={"Content-Disposition": name})


async def import_run(request: web.Request) -> web.Response:
    """Take in a run that was exported, here or elsewhere; it is marked with where it comes from."""
    if request.content_type != ZIP.content_type:
        raise Problem(415, f"the body must be {ZIP.content_type}, not {request.content_type}", "Content-Type")
    store = request.app[STORE]
    try:
        with tempfile.TemporaryFile(dir=store.state) as file:
            size = request.content_length or 0
            if size <= archive.MAX_ARCHIVE:
                size = 0
                async for block in request.content.iter_chunked(archive.BLOCK):
                    size += len(block)
                    if size > archive.MAX_ARCHIVE:
                        break
                    await asyncio.to_thread(file.write, block)
            if size > archive.MAX_ARCHIVE:
                raise Problem(413, f"an archive may have {archive.MAX_ARCHIVE >> 20} MiB at most")
            run = await archive.bring_in(store, file)
    except archive.Known as error:
        raise Problem(409, str(error), "run") from error
    except archive.ArchiveError as error:
        raise Problem(422, str(error)) from error
    except OSError as error:
        raise explain(error, store.state) from error
    return reply(run_view(request, run), 201, location(run))


async def _table(request: web.Request) -> tuple[Path, str]:
    """The directory of the run, and the form that is wanted."""
    form = validated(TableQuery, dict(request.query)).format
    run = await request.app[RUNS].find(request.match_info["run"])
    return request.app[STORE].directory(run.id), form


async def _rows(
    directory: Path, form: str, made: Callable[[Iterable[Mapping[str, Any]]], tables.Table]
) -> web.Response:
    def work() -> bytes:
        return tables.FORMS[form](made(tables.trial_lines(directory)))

    kind = {"csv": CSV, "parquet": PARQUET}[form].content_type
    return web.Response(body=await _whole(work), headers={"Content-Type": kind})


def _series(directory: Path) -> Iterable[dict[str, Any]]:
    return tables.series_lines(tables.trial_lines(directory))


async def _whole(work: Callable[[], T]) -> T:
    """What is made of trials.jsonl. Raises Problem 409 when that is not as it was written."""
    try:
        return await asyncio.to_thread(work)
    except ValueError as error:
        raise Problem(409, str(error), "run") from error


def _lines(body: bytes) -> web.Response:
    return web.Response(body=body, content_type=LINES.content_type)


async def _ended(request: web.Request, run_id: str, field: str, nothing: str) -> Run:
    """A run that has ended. Raises Problem 404, 409."""
    run = await request.app[RUNS].find(run_id)
    if not run.ended:
        raise Problem(409, f"the run {run.id} is {run.state}; there is {nothing} yet", field)
    return run


async def _left(request: web.Request, name: str) -> Path:
    """A file that an ended run left. Raises Problem 404, 409."""
    what = Path(name).stem
    run = await request.app[RUNS].find(request.match_info["run"])
    if not run.ended:
        raise Problem(409, f"the run {run.id} is {run.state}; it has no {what} yet", "run")
    path = request.app[STORE].directory(run.id) / name
    if not await asyncio.to_thread(path.is_file):
        why = f": {run.message}" if run.message else ""
        raise Problem(404, f"the run {run.id} ({run.state}{why}) has no {what}", "run")
    return path
