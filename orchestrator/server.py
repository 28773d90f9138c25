"""The orchestrator's process: `python -m orchestrator.server --listen 127.0.0.1:8351 | --unix PATH`.

It ends on SIGTERM, SIGINT, SIGHUP, or, with --until-stdin-closes, when whoever started it closes the pipe
or dies; then runs are cancelled, labs destroyed and the machine agent stopped, before it exits.
"""

import argparse
import asyncio
import errno
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from aiohttp import web

from agents.errors import Problem
from agents.machine_lock import Refused, free_socket
from orchestrator.access import Access, AccessError, Listen, access, parse_listen
from orchestrator.api.guards import counted
from orchestrator.app import Keeper, create_app
from orchestrator.connection import ClientError, Connection
from orchestrator.engine import LocalEngine
from orchestrator.events import EventBus
from orchestrator.grafana import Grafana, grafana_at
from orchestrator.machine import MachineError, MachineKeeper
from orchestrator.services import LABS, Catalogue
from orchestrator.shipped import as_json
from orchestrator.state import DEFAULT_LISTEN, StateError, owned, run_root, state_directory
from orchestrator.store import StoreError
from topologies import Topology, TopologyError, resolve

READY = "transship: listening at "
"""What is printed on stdout, before the address, once requests are answered."""
HANDSHAKE_S = 10.0
"""Seconds that a client has to agree on TLS."""
PROBE_S = 5.0
"""Seconds that whoever listens at the address has to say who it is."""
STOP_S = 45.0
"""Seconds allowed to clean up, after which the process ends all the same; the machine agent then cleans."""

log = logging.getLogger("transship")


class ServerError(Exception):
    """The server cannot start; the message says why."""


@contextmanager
def bound(listen: Listen) -> Iterator[tuple[socket.socket, Listen]]:
    """A bound socket, and where it is (a port 0 becomes the port obtained). Raises ServerError."""
    family = socket.AF_UNIX if listen.path else socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        try:
            if listen.path is not None:
                free_socket(listen.path)
                listen.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                previous = os.umask(0o077)
                try:
                    sock.bind(str(listen.path))
                finally:
                    os.umask(previous)
            else:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind((listen.host, listen.port))
                listen = replace(listen, port=sock.getsockname()[1])
            sock.listen(128)
        except Refused as refusal:
            raise ServerError(f"cannot listen at {listen.address}: {refusal}") from None
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise ServerError(f"{listen.address} is in use by {_holder(listen)}") from None
            raise ServerError(f"cannot listen at {listen.address}: {error.strerror or error}") from None
        try:
            yield sock, listen
        finally:
            if listen.path is not None:
                with suppress(OSError):
                    listen.path.unlink()


def _holder(listen: Listen) -> str:
    """Who listens at an address, as far as it tells."""
    other = "another program"
    try:
        found = json.loads(Connection(listen.address).request("GET", "/api/v1/health", timeout=PROBE_S))
        if found["service"] == "transship":
            other = f"another orchestrator (pid {found['pid']}, its results in {found['state']})"
            other += "; use that one, stop it, or name another address with --listen"
    except (ClientError, ValueError, KeyError, TypeError):
        pass  # whatever it is, it does not say that it is one
    return other


async def serve(
    listen: Listen,
    who: Access,
    state: Path,
    until_stdin_closes: bool,
    keep: Callable[[EventBus], Keeper],
    catalogue: Catalogue,
    grafana: Grafana | None = None,
    first: Topology | None = None,
) -> None:
    """Serve until told to stop, then clean up; the lab `first` is deployed before anybody is answered.

    Raises ServerError, StateError, StoreError or MachineError.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    if until_stdin_closes:
        _watch_stdin(stop)
    with bound(listen) as (sock, place), owned(state, place.address):
        app = create_app(state, keep, catalogue, who, not until_stdin_closes, grafana)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=3.0)
        starting = asyncio.create_task(_start(runner, sock, who, first))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
            if not stop.is_set():
                await starting
                print(f"{READY}{place.address}", flush=True)
                await stop.wait()
        finally:
            starting.cancel()
            stopping.cancel()
            await asyncio.wait([starting])
            if not starting.cancelled() and starting.exception() is None:
                starting.result().close()
            try:
                async with asyncio.timeout(STOP_S):
                    await runner.cleanup()
            except TimeoutError:
                log.error("cleaning up took more than %.0f s; leaving the rest to the machine agent", STOP_S)
                if place.path is not None:
                    place.path.unlink(missing_ok=True)
                # Not an ordinary exit: that would kill the agent instead of closing its pipe.
                os._exit(1)


async def _start(
    runner: web.AppRunner, sock: socket.socket, who: Access, first: Topology | None
) -> asyncio.Server:
    await runner.setup()
    assert runner.server is not None
    if first is not None:
        labs = runner.app[LABS]
        labs.create(first.name, as_json(first))
        try:
            await labs.deployed(first.name)
        except Problem as problem:
            raise ServerError(f"--deploy: {problem.detail}") from None
    seconds = None if who.tls is None else HANDSHAKE_S
    return await asyncio.get_running_loop().create_server(
        counted(runner.server), sock=sock, backlog=128, ssl=who.tls, ssl_handshake_timeout=seconds
    )


def _watch_stdin(stop: asyncio.Event) -> None:
    """Set `stop` at the end of standard input. The pipe carries nothing; what is written to it is ignored."""
    loop = asyncio.get_running_loop()
    handle = sys.stdin.fileno()
    os.set_blocking(handle, False)

    def readable() -> None:
        with suppress(BlockingIOError):
            if os.read(handle, 4096) == b"":
                loop.remove_reader(handle)
                stop.set()

    loop.add_reader(handle, readable)


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line, parsed."""
    parser = argparse.ArgumentParser(prog="transship-server", description="The Transship orchestrator.")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--listen", default=DEFAULT_LISTEN, help="address and port (%(default)s)")
    where.add_argument("--unix", type=Path, help="path of a Unix socket to listen at instead")
    parser.add_argument("--state", help="directory of results ($TRANSSHIP_STATE or /var/lib/transship)")
    parser.add_argument("--until-stdin-closes", action="store_true", help="end when standard input does")
    parser.add_argument("--certificate", type=Path, help="file of the server's certificate (PEM)")
    parser.add_argument("--key", type=Path, help="file of its key (PEM)")
    parser.add_argument("--token", type=Path, help="file of the word that every request must have")
    parser.add_argument("--name", action="append", default=[], help="a name that the server has")
    parser.add_argument("--grafana", metavar="URL", help="a Grafana that is told what happens")
    parser.add_argument("--grafana-token-file", type=Path, help="file of the token that may write there")
    parser.add_argument("--deploy", metavar="TOPOLOGY", help="a lab to begin with")
    return parser.parse_args(argv)


def run(options: argparse.Namespace, keep: Callable[[EventBus], Keeper], catalogue: Catalogue) -> int:
    """Serve as the options say. Returns the exit status: 0 after a requested end, 1 or 2 with a message."""
    logging.basicConfig(format="transship: %(levelname)s: %(message)s", level=logging.WARNING)
    try:
        listen = Listen(path=options.unix.absolute()) if options.unix else parse_listen(options.listen)
        listen = replace(listen, tls=options.certificate is not None)
        who = access(listen, options.certificate, options.key, options.token, tuple(options.name))
        grafana = None if options.grafana is None else grafana_at(options.grafana, options.grafana_token_file)
        first = None if options.deploy is None else resolve(options.deploy)
    except (AccessError, TopologyError) as error:
        print(f"transship: {error}", file=sys.stderr)
        return 2
    try:
        state = state_directory(options.state)
        asyncio.run(serve(listen, who, state, options.until_stdin_closes, keep, catalogue, grafana, first))
    except (ServerError, StateError, StoreError, MachineError) as error:
        print(f"transship: {error}", file=sys.stderr)
        return 1
    return 0


def main() -> int:
    """The process with a real machine agent."""
    options = arguments()
    if os.geteuid() != 0:
        print(
            "transship: labs need root: network namespaces, networks and cgroups are made for them. "
            "Run this as root (sudo).",
            file=sys.stderr,
        )
        return 1
    return run(options, lambda events: MachineKeeper(events, run_root()), LocalEngine())


if __name__ == "__main__":
    sys.exit(main())
