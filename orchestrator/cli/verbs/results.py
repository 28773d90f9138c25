"""`results`: read from the state directory, so that no orchestrator has to run."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from orchestrator.cli.connect import format_option, state_option
from orchestrator.cli.failures import Failure
from orchestrator.state import state_directory
from orchestrator.store import StoreError, read_runs


@click.command("results")
@click.argument("run", required=False)
@click.option("--figure", is_flag=True, help="Only print where the figure of RUN is.")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many to list."
)
@state_option
@format_option
def results_verb(run: str | None, figure: bool, limit: int, state: str | None, format_: str) -> None:
    """List the newest runs, or show the result of RUN (its id, the end of it, or 'last')."""
    directory = state_directory(state)
    try:
        runs = [asdict(found) for found in read_runs(directory, limit if run is None else 10_000)]
    except StoreError as error:
        raise Failure(str(error)) from error
    if run is None:
        if figure:
            raise click.UsageError("--figure needs a RUN")
        print(json.dumps({"runs": runs}, indent=2)) if format_ == "json" else _list(runs, directory)
        return
    chosen = choose(runs, run, str(directory))
    files = directory / "runs" / chosen["id"]
    if figure:
        if not (files / "figure.png").is_file():
            raise Failure(f"the run {chosen['id']} ({chosen['state']}) has no figure")
        print(files / "figure.png")
        return
    result = _result(files, chosen)
    if format_ == "json":
        print(json.dumps(result, indent=2))
        return
    from orchestrator.cli.tables import console, print_result

    print_result(result, files, console())


def choose(runs: list[dict[str, Any]], wanted: str, place: str) -> dict[str, Any]:
    """The run that a user means: its id, the end of it, or 'last'. Raises Failure."""
    found = runs[:1] if wanted == "last" else [run for run in runs if run["id"].endswith(wanted)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise Failure(f"there is no run {wanted!r} in {place}")
    raise Failure(f"{len(found)} runs end in {wanted!r}: {', '.join(run['id'] for run in found[:5])}")


def _result(files: Path, run: dict[str, Any]) -> dict[str, Any]:
    try:
        result: dict[str, Any] = json.loads((files / "result.json").read_bytes())
    except FileNotFoundError:
        why = f": {run['message']}" if run["message"] else ""
        raise Failure(f"the run {run['id']} has no result; it is {run['state']}{why}") from None
    except (OSError, ValueError) as error:
        raise Failure(f"cannot read {files / 'result.json'}: {error}") from error
    return result


def _list(runs: list[dict[str, Any]], directory: Path) -> None:
    from orchestrator.cli.tables import console, table

    if not runs:
        print(f"no runs in {directory}")
        return
    shown = table("run", "experiment", "state", "verdict or message")
    for run in runs:
        shown.add_row(run["id"], run["experiment"], run["state"], run["verdict"] or run["message"])
    console().print(shown)
