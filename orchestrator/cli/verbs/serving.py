"""`up`."""

import os
import sys

import click

from orchestrator.cli.connect import state_option
from orchestrator.state import DEFAULT_LISTEN, state_directory


@click.command("up")
@click.option(
    "--listen",
    metavar="HOST:PORT",
    default=DEFAULT_LISTEN,
    show_default=True,
    help="Loopback address and port.",
)
@state_option
def up_verb(listen: str, state: str | None) -> None:
    """Serve the REST API and run the machine agent, until Ctrl-C.

    Labs live as long as this does; when it ends, it destroys them.
    """
    arguments = ["--listen", listen, "--state", str(state_directory(state))]
    sys.stdout.flush()
    # The server becomes this process: what stops one stops the other, with nothing to pass on.
    os.execv(sys.executable, [sys.executable, "-m", "orchestrator.server", *arguments])
