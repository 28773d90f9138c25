"""Which orchestrator a verb talks to: the one asked for, the one that runs, or a private one."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from orchestrator.cli.client import Server
from orchestrator.cli.failures import USAGE, Failure
from orchestrator.cli.private import PrivateServer, private_server
from orchestrator.state import DEFAULT_LISTEN, state_directory

DEFAULT = f"http://{DEFAULT_LISTEN}"
F = TypeVar("F", bound=Callable[..., Any])

server_option = click.option(
    "--server",
    metavar="URL",
    help=f"The orchestrator to use, http(s)://... or unix:/path; default {DEFAULT}.",
)
state_option = click.option(
    "--state", metavar="DIR", help="Directory of results; default $TRANSSHIP_STATE or /var/lib/transship."
)
format_option = click.option(
    "--format",
    "format_",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="json: JSON and nothing else on stdout.",
)


def running_server(given: str | None) -> Server | None:
    """The orchestrator given, which must answer, or the default one if that runs. Raises Failure."""
    server = Server(given or DEFAULT)
    if server.health() is not None:
        return server
    if given is not None:
        raise Failure(f"no Transship orchestrator answers at {given}")
    return None


def required_server(given: str | None) -> Server:
    """The orchestrator that runs. Raises Failure if none does: a lab must be owned by one that lives on."""
    server = running_server(given)
    if server is None:
        raise Failure(
            f"no orchestrator runs at {DEFAULT}; start one with './transship up' (in another terminal)"
        )
    return server


@contextmanager
def any_server(given: str | None, state: str | None) -> Iterator[tuple[Server, PrivateServer | None]]:
    """The orchestrator that runs, else a private one for the length of this context. Raises Failure."""
    server = running_server(given)
    if server is None:
        with private_server(state_directory(state)) as private:
            yield private.server, private
        return
    _kept(server, *_named(given, state))
    yield server, None


def results_directory(given: str | None, state: str | None) -> Path:
    """Where the results are that a verb reads by itself: in the directory that is named, else in that of the
    orchestrator that is given or runs, else in the default one. Raises Failure."""
    named, how = _named(given, state)
    if named is not None and given is None:
        return state_directory(named)
    server = running_server(given)
    if server is None:
        return state_directory(None)
    kept = _kept(server, named, how)
    if not _holds(server, kept):  # another machine's may have the same path
        raise Failure(f"the orchestrator at {server.address} keeps its results in {kept}, which is not here")
    return kept


def _holds(server: Server, state: Path) -> bool:
    """Whether the directory of that path here is the one that the orchestrator has locked."""
    try:
        holder = (state / "orchestrator.lock").read_text(errors="replace")
    except OSError:
        return False
    return holder.startswith(f"pid {(server.health() or {}).get('pid')},")


def _named(given: str | None, state: str | None) -> tuple[str | None, str]:
    """The directory of results that the user wants, and the words for it. An orchestrator that is given says
    more than the environment."""
    if state is not None:
        return state, f"--state {state!r}"
    wanted = os.environ.get("TRANSSHIP_STATE") or None
    return (wanted, f"TRANSSHIP_STATE={wanted}") if given is None else (None, "")


def _kept(server: Server, named: str | None, how: str) -> Path:
    """Where an orchestrator keeps its results: where they are wanted, if that was said. Raises Failure."""
    kept = Path((server.health() or {}).get("state", "")).resolve()
    if named is not None and kept != state_directory(named).resolve():
        raise Failure(
            f"{how}: the orchestrator at {server.address} keeps its results in {kept}; "
            "stop it, or do not name another directory",
            USAGE,
        )
    return kept
