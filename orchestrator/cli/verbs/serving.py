"""`up`."""

import os
import sys

import click

from orchestrator.cli.connect import state_option
from orchestrator.state import DEFAULT_LISTEN, state_directory

FILE = click.Path(exists=True, dir_okay=False)


@click.command("up")
@click.option(
    "--listen",
    metavar="HOST:PORT",
    default=DEFAULT_LISTEN,
    show_default=True,
    help="Address and port; others than loopback need the next three.",
)
@click.option("--certificate", type=FILE, metavar="FILE", help="The server's TLS certificate (PEM).")
@click.option("--key", type=FILE, metavar="FILE", help="Its key (PEM).")
@click.option("--token", type=FILE, metavar="FILE", help="The word that every request must have.")
@click.option("--name", "names", multiple=True, help="A name that the server has, beside its address.")
@click.option(
    "--grafana",
    metavar="URL",
    envvar="GRAFANA_URL",
    show_envvar=True,
    help="A Grafana that gets runs and faults as annotations.",
)
@click.option(
    "--grafana-token-file",
    type=FILE,
    metavar="FILE",
    envvar="GRAFANA_TOKEN_FILE",
    show_envvar=True,
    help="The token that may write them.",
)
@click.option("--deploy", metavar="TOPOLOGY", help="A lab to deploy before anybody is answered.")
@state_option
def up_verb(
    listen: str,
    state: str | None,
    certificate: str | None,
    key: str | None,
    token: str | None,
    names: tuple[str, ...],
    grafana: str | None,
    grafana_token_file: str | None,
    deploy: str | None,
) -> None:
    """Serve the REST API and run the machine agent, until Ctrl-C.

    Labs live as long as this does; when it ends, it destroys them.
    """
    arguments = ["--listen", listen, "--state", str(state_directory(state))]
    files = {
        "--certificate": certificate,
        "--key": key,
        "--token": token,
        "--grafana-token-file": grafana_token_file,
    }
    for option, value in files.items():
        arguments += [option, os.path.abspath(value)] if value is not None else []
    arguments += ["--grafana", grafana] if grafana else []
    arguments += [part for name in names for part in ("--name", name)]
    arguments += [] if deploy is None else ["--deploy", deploy]
    sys.stdout.flush()
    # The server becomes this process: what stops one stops the other, with nothing to pass on.
    os.execv(sys.executable, [sys.executable, "-m", "orchestrator.server", *arguments])
