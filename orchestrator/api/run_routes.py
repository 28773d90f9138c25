"""Runs and what they left."""

import asyncio

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from agents.errors import Problem
from orchestrator.api import experiment_models, models
from orchestrator.api.problems import read_body, validated
from orchestrator.api.routing import reply
from orchestrator.services import CATALOGUE, RUNS, STORE
from orchestrator.store import Run


class ListQuery(BaseModel):
    """How many runs to list."""

    model_config = ConfigDict(extra="forbid")
    limit: int = Field(default=100, ge=1, le=10_000)


def run_view(request: web.Request, run: Run) -> models.RunView:
    """A run for REST."""
    progress = request.app[RUNS].progress(run.id)
    return models.RunView(
        id=run.id,
        experiment=run.experiment,
        lab=run.lab,
        options=run.options,
        state=run.state,  # type: ignore[arg-type]
        message=run.message,
        verdict=run.verdict,
        created=run.created,
        started=run.started,
        finished=run.finished,
        progress=models.Progress(**progress) if progress else None,
        directory=str(request.app[STORE].directory(run.id)),
        imported=models.ImportView(**run.imported) if run.imported else None,
    )


def location(run: Run) -> dict[str, str]:
    """The header that says where to follow the run."""
    return {"Location": f"/api/v1/runs/{run.id}"}


async def list_runs(request: web.Request) -> web.Response:
    """The newest runs."""
    query = validated(ListQuery, dict(request.query))
    runs = await request.app[STORE].list(query.limit)
    current = [await request.app[RUNS].find(run.id) for run in runs]
    return reply(models.RunList(runs=[run_view(request, run) for run in current]))


async def create_run(request: web.Request) -> web.Response:
    """Queue a run of an experiment, or say with `dry_run` how long it will take."""
    body = await read_body(request, models.RunRequest)
    options = body.model_dump(exclude={"experiment", "lab", "dry_run"})
    if isinstance(body.experiment, str):
        name = body.experiment
    else:
        if "profile" in body.model_fields_set:
            raise Problem(422, "profile: only a shipped experiment has profiles", "profile")
        name = str(body.experiment.get("name"))
        del options["profile"]
        options["document"] = body.experiment
    if body.dry_run:
        found = await asyncio.to_thread(request.app[CATALOGUE].estimate, name, options)
        return reply(experiment_models.EstimateView(experiment=name, **found))
    run = await request.app[RUNS].submit(name, body.lab, options)
    return reply(run_view(request, run), 202, location(run))


async def get_run(request: web.Request) -> web.Response:
    """One run."""
    return reply(run_view(request, await request.app[RUNS].find(request.match_info["run"])))


async def cancel_run(request: web.Request) -> web.Response:
    """Cancel a run; it has ended once it has cleaned up."""
    run = await request.app[RUNS].cancel(request.match_info["run"])
    return reply(run_view(request, run), 202, location(run))


async def pause_run(request: web.Request) -> web.Response:
    """Stop a run so that it can go on later; it is paused once it has cleaned up."""
    run = await request.app[RUNS].pause(request.match_info["run"])
    return reply(run_view(request, run), 202, location(run))


async def resume_run(request: web.Request) -> web.Response:
    """Let a run go on that stopped without a result; finished trials are not done again."""
    run = await request.app[RUNS].resume(request.match_info["run"])
    return reply(run_view(request, run), 202, location(run))
