"""`results`: read from the state directory, so that no orchestrator has to run; an import needs one."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from orchestrator.cli.connect import (
    any_server,
    format_option,
    results_directory,
    server_option,
    state_option,
)
from orchestrator.cli.failures import Failure
from orchestrator.store import Run, StoreError, read_runs

Json = dict[str, Any]


class Results(click.Group):
    """`results` with a word that is no command of its own shows that run; with none it lists them."""

    def parse_args(self, context: click.Context, arguments: list[str]) -> list[str]:
        """`results last` is `results show last`."""
        if not arguments or (arguments[0] not in self.commands and arguments[0] not in ("-h", "--help")):
            arguments = ["show", *arguments]
        return super().parse_args(context, arguments)


@click.command(cls=Results, subcommand_metavar="[RUN | COMMAND ...]")
def results_verb() -> None:
    """List the newest runs, or show the result of RUN (its id, the end of it, or 'last')."""


@results_verb.command("show")
@click.argument("run", required=False)
@click.option("--figure", is_flag=True, help="Only print where the figure of RUN is.")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many to list."
)
@server_option
@state_option
@format_option
def show(
    run: str | None, figure: bool, limit: int, server: str | None, state: str | None, format_: str
) -> None:
    """The same without a COMMAND: list runs, or show the result of RUN."""
    directory = results_directory(server, state)
    if run is None:
        if figure:
            raise click.UsageError("--figure needs a RUN")
        runs = [asdict(found) for found in _runs(directory, limit)]
        print(json.dumps({"runs": runs}, indent=2)) if format_ == "json" else _list(runs, directory)
        return
    chosen = _choose(run, directory)
    files = directory / "runs" / chosen.id
    if figure:
        if not (files / "figure.png").is_file():
            raise Failure(f"the run {chosen.id} ({chosen.state}) has no figure")
        print(files / "figure.png")
        return
    result = _result(files, chosen)
    if format_ == "json":
        print(json.dumps(result, indent=2))
        return
    from orchestrator.cli.tables import console, print_result

    print_result(result, files, console())


@results_verb.command("compare")
@click.argument("a")
@click.argument("b")
@server_option
@state_option
@format_option
def compare_(a: str, b: str, server: str | None, state: str | None, format_: str) -> None:
    """Say what differs between the runs A and B by more than their trials scatter, and what none can tell."""
    from orchestrator.experiments.compare import CompareError, compare, load

    directory = results_directory(server, state)
    try:
        chosen = [_choose(one, directory).id for one in (a, b)]
        found = compare(*(load(one, directory / "runs" / one) for one in chosen))
    except CompareError as error:
        raise Failure(str(error)) from error
    if format_ == "json":
        print(found.model_dump_json(indent=2))
        return
    from orchestrator.cli.comparison import print_comparison
    from orchestrator.cli.tables import console

    print_comparison(found, console())


@results_verb.command("export")
@click.argument("run")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@server_option
@state_option
def export(run: str, file: Path, server: str | None, state: str | None) -> None:
    """Write RUN into FILE (a zip), to keep or to hand on."""
    from orchestrator import archive
    from orchestrator.experiments.files import replacing

    directory = results_directory(server, state)
    chosen = _choose(run, directory)
    try:
        with replacing(file) as target:
            archive.export(chosen, directory / "runs" / chosen.id, target)
    except (OSError, archive.ArchiveError) as error:
        raise Failure(f"cannot export the run {chosen.id} into {file}: {_reason(error)}") from error
    print(f"run {chosen.id}: exported into {file}")


@results_verb.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@server_option
@state_option
@format_option
def import_(file: Path, server: str | None, state: str | None, format_: str) -> None:
    """Take in the run that FILE has. It is marked as imported, and from where."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise Failure(f"cannot read {file}: {_reason(error)}") from error
    with any_server(server, state) as (target, _):
        run: Json = target.upload("/api/v1/imports", content, "application/zip")
    if format_ == "json":
        print(json.dumps(run, indent=2))
        return
    origin = run["imported"]
    print(f"run {run['id']}: imported; done on {origin['machine']}, exported {origin['exported']}")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _runs(directory: Path, limit: int) -> list[Run]:
    try:
        return read_runs(directory, limit)
    except StoreError as error:
        raise Failure(str(error)) from error


def _choose(wanted: str, directory: Path) -> Run:
    runs = {run.id: run for run in _runs(directory, 10_000)}
    return runs[choose(list(runs), wanted, str(directory))]


def choose(ids: Sequence[str], wanted: str, place: str) -> str:
    """The run that a user means, of those with these ids, newest first: its id, the end of it, or 'last'.
    Raises Failure."""
    found = ids[:1] if wanted == "last" else [one for one in ids if one.endswith(wanted)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise Failure(f"there is no run {wanted!r} in {place}")
    raise Failure(f"{len(found)} runs end in {wanted!r}: {', '.join(found[:5])}")


def _result(files: Path, run: Run) -> Json:
    try:
        result: Json = json.loads((files / "result.json").read_bytes())
    except FileNotFoundError:
        why = f": {run.message}" if run.message else ""
        raise Failure(f"the run {run.id} has no result; it is {run.state}{why}") from None
    except (OSError, ValueError) as error:
        raise Failure(f"cannot read {files / 'result.json'}: {error}") from error
    return result


def _list(runs: list[Json], directory: Path) -> None:
    from orchestrator.cli.tables import console, table

    if not runs:
        print(f"no runs in {directory}")
        return
    shown = table("run", "experiment", "state", "verdict or message")
    for run in runs:
        origin = f" (from {run['imported']['machine']})" if run["imported"] else ""
        shown.add_row(run["id"], run["experiment"], run["state"] + origin, run["verdict"] or run["message"])
    console().print(shown)
