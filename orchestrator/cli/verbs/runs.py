"""`run` and `reproduce`: an experiment executed, by the orchestrator that runs or a private one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from orchestrator.cli.connect import any_server, format_option, server_option, state_option
from orchestrator.cli.failures import DONE, INVALID
from orchestrator.cli.follow import execute, outcome

F = TypeVar("F", bound=Callable[..., Any])
Json = dict[str, Any]


def run_options(command: F) -> F:
    """The options that say how to execute."""
    for option in reversed(
        (
            click.argument("experiment"),
            click.option("--quick", is_flag=True, help="One short trial each."),
            click.option("--trials", type=click.IntRange(1, 1000), help="Trials of each system and factor."),
            click.option(
                "--profile",
                type=click.Choice(["period", "scaled", "modern"]),
                default="period",
                show_default=True,
                help="The paper's rings and CPU budget; the paper's ratio at full CPU; no limits.",
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
def run_verb(server: str | None, state: str | None, format_: str, **request: Any) -> int:
    """Execute EXPERIMENT and say how it ended and where its files are."""
    run, _ = _execute(request, server, state)
    if format_ == "json":
        print(json.dumps(run, indent=2))
    else:
        print(f"run {run['id']}: {run['state']}, {run['verdict']}\nfiles: {run['directory']}")
    return INVALID if run["state"] == "invalid" else DONE


def _execute(request: Json, server: str | None, state: str | None) -> tuple[Json, Json]:
    """The run and its result. Raises Failure if it did not come to one."""
    with any_server(server, state) as (target, private):
        run = execute(target, private, request)
        outcome(run)
        result: Json = target.request("GET", f"/api/v1/runs/{run['id']}/result")
    return run, result
