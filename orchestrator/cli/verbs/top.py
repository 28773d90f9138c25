"""`top`: a lab as it is now, on a terminal."""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import click

from orchestrator.cli.client import ProblemReply, Server, ServerGone
from orchestrator.cli.connect import required_server, server_option
from orchestrator.cli.failures import USAGE, Failure
from orchestrator.cli.interrupt import Interrupted, interrupts

AGAIN_S = 0.5
"""Between two attempts to reach a server that does not answer."""
GONE_S = 30.0
"""How long a lab is waited for that a server that was started again does not have."""
NOT_FOUND, NOT_READY = 404, 409
CTRL_C = 130

Json = dict[str, Any]


@click.command("top")
@click.argument("lab", required=False)
@click.option(
    "--every",
    "every_s",
    type=click.FloatRange(0.1, 60),
    default=1.0,
    show_default=True,
    metavar="S",
    help="Seconds from one sample to the next.",
)
@click.option("--once", is_flag=True, help="Print one sample and end, as without a terminal.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="json: one sample in each line, and nothing else on stdout.",
)
@click.option("--samples", type=click.IntRange(min=1), metavar="N", help="With json: so many; default 1.")
@server_option
def top_verb(
    lab: str | None, every_s: float, once: bool, format_: str, samples: int | None, server: str | None
) -> None:
    """Watch LAB: networks, hosts and workloads with their rates, until Ctrl-C.

    LAB may be left out if there is only one.
    """
    if samples is not None and format_ != "json":
        raise click.UsageError("--samples is for --format json")
    target = required_server(server)
    name = lab or _only(target)
    if format_ == "json":
        _print(target, name, every_s, samples or 1, lambda sample: print(json.dumps(sample), flush=True))
    elif once or not sys.stdout.isatty():
        _print(target, name, every_s, 1, _table)
    else:
        _watch(target, name, every_s)


def _only(server: Server) -> str:
    """The lab that is meant when none is named. Raises Failure."""
    names = [str(lab["name"]) for lab in server.request("GET", "/api/v1/labs")["labs"]]
    if not names:
        raise Failure("there is no lab; deploy one with './transship deploy TOPOLOGY'")
    if len(names) > 1:
        raise Failure(f"there are several labs, name one of them: {', '.join(names)}", USAGE)
    return names[0]


def _table(sample: Json) -> None:
    from orchestrator.cli.live_table import view
    from orchestrator.cli.tables import console

    out = console()
    out.print(view(sample, out.width))


def _print(server: Server, lab: str, every_s: float, count: int, show: Callable[[Json], None]) -> None:
    """Shows so many samples that have rates."""
    for kind, data in server.live(lab, every_s):
        if kind == "lab":
            raise Failure(_end(data))
        if data["over_s"] is None:
            continue
        show(data)
        count -= 1
        if not count:
            return
    raise Failure(f"the orchestrator at {server.address} has ended the samples of {lab!r}")


def _watch(server: Server, lab: str, every_s: float) -> None:
    """Shows sample after sample on the whole terminal, which is as it was when this returns."""
    from rich.live import Live

    from orchestrator.cli.tables import console

    screen = Live(console=console(), screen=True, auto_refresh=False, vertical_overflow="crop")
    try:
        with interrupts.deferred():
            screen.start()
        said = _follow(server, lab, every_s, screen)
    except Interrupted as interrupted:
        if interrupted.code != CTRL_C:
            raise
        return  # which is how one leaves
    finally:
        with interrupts.shielded():
            screen.stop()
    print(said)


def _follow(server: Server, lab: str, every_s: float, screen: Any) -> str:
    """Shows samples until the lab ends; returns how it did. A server that goes away is waited for.

    Raises Failure when there is nothing to show at all.
    """
    from orchestrator.cli.live_table import view

    last: Json | None = None
    missed = 0.0
    while True:
        try:
            for kind, data in server.live(lab, every_s):
                if kind == "lab":
                    return _end(data)
                last, missed, size = data, 0.0, screen.console.size
                screen.update(view(data, size.width, size.height), refresh=True)
            why = f"the orchestrator at {server.address} has stopped"
        except ServerGone as gone:
            why = str(gone)
        except ProblemReply as problem:
            # A server that was started again has no labs, unless somebody deploys them anew.
            missed = missed or time.monotonic()
            waited = time.monotonic() - missed > GONE_S
            if last is None or problem.status not in (NOT_FOUND, NOT_READY) or waited:
                raise
            why = str(problem)
        if last is None:
            raise Failure(why)
        size = screen.console.size
        screen.update(view(last, size.width, size.height, f"{why}; waiting"), refresh=True)
        time.sleep(AGAIN_S)


def _end(data: Json) -> str:
    return f"the lab {data['lab']} {'was destroyed' if data['state'] == 'destroyed' else 'has failed'}"
