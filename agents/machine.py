"""The machine agent: `python -m agents.machine --socket PATH [--run-root DIR] [--until-stdin-closes]
[--tokens-from-stdin]`.

One per machine, privileged: it makes labs, starts and watches host agents, and answers on a Unix socket
that only its user can open. When it ends (SIGTERM, SIGINT, SIGHUP, or with `--until-stdin-closes` the
end of standard input), no lab is left; those of an agent that could not end so are destroyed by the next one.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from agents import huge_pages
from agents.machine_app import MachineApp
from agents.machine_builder import Builder, KernelBuilder
from agents.machine_labs import Labs
from agents.machine_lock import Refused, free_socket, sole_agent
from agents.problems import listen
from agents.processes import first_line
from agents.tokens import Tokens
from topologies.record import RUN_ROOT

WORKLOAD_COMMAND = [sys.executable, "-m", "agents.workload"]

log = logging.getLogger(__name__)


async def serve(
    socket: Path,
    run_root: Path,
    builder: Builder,
    on_ending: Callable[[], None],
    *,
    until_stdin_closes: bool = False,
    tokens: Tokens | None = None,
    workload_command: list[str] | None = None,
) -> int:
    """Serves until told to end, calls `on_ending`, and destroys every lab. The exit status: 0 when none is
    left.

    Raises `Refused` when the socket is in use.
    """
    loop = asyncio.get_running_loop()
    ending = asyncio.Event()

    def end() -> None:
        ending.set()
        on_ending()

    # The handlers stay to the end: a second Ctrl-C must not cut the cleaning short.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, end)
    if until_stdin_closes:
        _watch_input(loop, end)
    labs = Labs(run_root, builder, workload_command or WORKLOAD_COMMAND)
    free_socket(socket)
    await labs.clean()
    runner = web.AppRunner(
        MachineApp(labs, run_root, tokens).app(), access_log=None, handle_signals=False, shutdown_timeout=1.0
    )
    await runner.setup()
    try:
        await listen(runner, socket)
        log.info("the machine agent (pid %d) listens on %s", os.getpid(), socket)
        await ending.wait()
    finally:
        gone = await labs.close()
        await runner.cleanup()
        _unlink(socket)
    return 0 if gone else 1


def _unlink(socket: Path) -> None:
    socket.unlink(missing_ok=True)


def _watch_input(loop: asyncio.AbstractEventLoop, end: Callable[[], None]) -> None:
    descriptor = sys.stdin.fileno()

    def read() -> None:
        if not os.read(descriptor, 4096):
            loop.remove_reader(descriptor)
            end()

    try:
        loop.add_reader(descriptor, read)
    except PermissionError:  # epoll's word for a file, which has no end to wait for
        raise Refused("--until-stdin-closes needs a pipe or a terminal as standard input") from None


def main(builder: Builder | None = None, workload_command: list[str] | None = None) -> int:
    """The command line; tests give another builder or workload program."""
    parser = argparse.ArgumentParser(
        prog="python -m agents.machine", description="Runs the agent of this machine."
    )
    parser.add_argument(
        "--socket", type=Path, help="Unix socket to answer on (default: RUN_ROOT/machine.sock)"
    )
    parser.add_argument("--run-root", type=Path, default=RUN_ROOT, help=f"default: {RUN_ROOT}")
    parser.add_argument(
        "--until-stdin-closes", action="store_true", help="end when whoever started this does"
    )
    parser.add_argument(
        "--tokens-from-stdin",
        action="store_true",
        help="answer only those who have the tokens that the first line of standard input says",
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="machine agent: %(message)s", stream=sys.stderr)
    run_root = arguments.run_root.absolute()
    socket = (arguments.socket or run_root / "machine.sock").absolute()
    try:
        tokens = None
        if arguments.tokens_from_stdin:
            try:
                tokens = Tokens.model_validate_json(first_line(sys.stdin.fileno()))
            except ValueError:  # whose words may have the tokens in them
                raise Refused("the first line of standard input is not the tokens") from None
        with sole_agent(run_root) as tell_ending, huge_pages.may_be_made(run_root):
            return asyncio.run(
                serve(
                    socket,
                    run_root,
                    builder or KernelBuilder(),
                    tell_ending,
                    until_stdin_closes=arguments.until_stdin_closes,
                    tokens=tokens,
                    workload_command=workload_command,
                )
            )
    except Refused as refusal:
        print(f"machine agent: {refusal}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
