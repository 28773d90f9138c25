"""`run` and `reproduce`: an experiment executed, by the orchestrator that runs or a private one."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from orchestrator.cli.client import ProblemReply, Server
from orchestrator.cli.connect import any_server, format_option, server_option, state_option
from orchestrator.cli.documents import DocumentFile, is_document
from orchestrator.cli.failures import DONE, INVALID
from orchestrator.cli.follow import execute, outcome
from orchestrator.cli.progress import duration
from orchestrator.cli.verbs.results import choose

F = TypeVar("F", bound=Callable[..., Any])
Json = dict[str, Any]


def run_options(command: F) -> F:
    """The options that say how to execute."""
    for option in reversed(
        (
            click.argument("experiment", required=False),
            click.option("--quick", is_flag=True, help="One short trial each."),
            click.option("--trials", type=click.IntRange(1, 1000), help="Trials of each system and factor."),
            click.option(
                "--profile",
                type=click.Choice(["period", "scaled", "modern"]),
                help="The paper's rings and CPU budget (period, the default); the paper's ratio at full CPU; "
                "no limits.",
            ),
            click.option("--seed", type=click.IntRange(0, 2**53 - 1), help="Of everything random."),
            server_option,
            state_option,
            format_option,
        )
    ):
        command = option(command)
    return command


@click.command("reproduce")
@run_options
def reproduce_verb(server: str | None, state: str | None, format_: str, **request: Any) -> int:
    """Reproduce EXPERIMENT, such as fddi: published and measured side by side, and a verdict.

    Deploys the lab it needs and destroys it. Exit status 3: finished, but too many trials were invalid.
    """
    if request["experiment"] is None or is_document(request["experiment"]):
        raise click.UsageError(
            "reproduce takes a published EXPERIMENT, such as fddi; `run` executes your own"
        )
    run, result = _execute(request, server, state)
    if format_ == "json":
        print(json.dumps(result, indent=2))
    else:
        from orchestrator.cli.tables import console, print_result

        print_result(result, Path(run["directory"]), console())
    return INVALID if run["state"] == "invalid" else DONE


@click.command("run")
@run_options
@click.option("--lab", help="A deployed lab to use; without it, one is deployed and destroyed.")
@click.option("--dry-run", is_flag=True, help="Check it, and say how long it will take.")
@click.option(
    "--resume", metavar="RUN", help="Let a run go on that stopped: its id, the end of it, or 'last'."
)
def run_verb(
    server: str | None, state: str | None, format_: str, dry_run: bool, resume: str | None, **request: Any
) -> int:
    """Execute EXPERIMENT and say how it ended and where its files are.

    EXPERIMENT is a shipped one, such as fddi, or a file, such as mine.yaml: docs/experiments.md says how to
    write one.
    """
    if (resume is None) == (request["experiment"] is None):
        raise click.UsageError("give an EXPERIMENT, or a run with --resume")
    if resume is not None:
        with any_server(server, state) as (target, private):
            path = f"/api/v1/runs/{_found(target, resume)}/resume"
            run, result = _ended(target, execute(target, private, None, path))
    elif dry_run:
        estimate = _estimated(request, server, state)
        print(json.dumps(estimate, indent=2) if format_ == "json" else _told(estimate))
        return DONE
    else:
        run, result = _execute(request, server, state, tell=True)
    if format_ == "json":
        print(json.dumps(run, indent=2))
    elif result.get("profile"):
        print(f"run {run['id']}: {run['state']}, {run['verdict']}\nfiles: {run['directory']}")
    else:
        from orchestrator.cli.tables import console, print_result

        print_result(result, Path(run["directory"]), console())
        print(f"run {run['id']}: {run['state']}\nfiles: {run['directory']}")
    return INVALID if run["state"] == "invalid" else DONE


def _execute(request: Json, server: str | None, state: str | None, tell: bool = False) -> tuple[Json, Json]:
    """The run and its result; with `tell`, first how long it will take. Raises Failure if it did not come to
    one."""
    body, file = _request(request)
    with any_server(server, state) as (target, private), _explained(file):
        if tell:
            estimate = target.request("POST", "/api/v1/runs", {**body, "dry_run": True})
            print(_told(estimate), file=sys.stderr, flush=True)
        return _ended(target, execute(target, private, body))


def _estimated(request: Json, server: str | None, state: str | None) -> Json:
    body, file = _request(request)
    with any_server(server, state) as (target, _), _explained(file):
        found: Json = target.request("POST", "/api/v1/runs", {**body, "dry_run": True})
    return found


def _request(given: Json) -> tuple[Json, DocumentFile | None]:
    """The body of the request, and the file that the experiment is from, if it is."""
    body = {name: value for name, value in given.items() if value is not None}
    if not is_document(body["experiment"]):
        return {"profile": "period", **body}, None
    file = DocumentFile(Path(body["experiment"]))
    return {**body, "experiment": file.value}, file


@contextmanager
def _explained(file: DocumentFile | None) -> Iterator[None]:
    """Errors about a document name its file and lines."""
    try:
        yield
    except ProblemReply as problem:
        if file is None:
            raise
        raise file.explained(problem) from None


def _ended(target: Server, run: Json) -> tuple[Json, Json]:
    outcome(run)
    result: Json = target.request("GET", f"/api/v1/runs/{run['id']}/result")
    return run, result


def _found(target: Server, wanted: str) -> str:
    """The id of the run that a user means. Raises Failure."""
    runs = target.request("GET", "/api/v1/runs?limit=10000")["runs"]
    return choose([str(run["id"]) for run in runs], wanted, "the orchestrator's results")


def _told(estimate: Json) -> str:
    combinations, trials = estimate["combinations"], estimate["trials"]
    return (
        f"{estimate['experiment']}: {combinations} combination{'s'[: combinations != 1]}, "
        f"{trials} trial{'s'[: trials != 1]}, about {duration(estimate['seconds'])}"
    )
