"""The host agent: `python -m agents.host`, started by the machine agent when a host is first used.

It reads one line of JSON (`agents.requests.HostSetup`) from standard input, moves into the host's
network namespace and cgroup, gives up most capabilities, serves `<run dir>/<host>.sock`, and prints
{"event": "ready"}; from then on {"event": "beat"} for each line that it reads. The end of standard input,
SIGTERM, and its parent's death end it and its children.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from aiohttp import web

from agents.host_app import HostAgent
from agents.host_privileges import drop_capabilities, enter_network
from agents.problems import listen
from agents.processes import die_with_parent, first_line
from agents.requests import HostSetup
from topologies.cgroups import CgroupError, HostCgroup


def socket_of(run_dir: Path, host: str) -> Path:
    """Where the agent of `host` listens."""
    return run_dir / f"{host}.sock"


async def serve(setup: HostSetup) -> None:
    """Serves until standard input ends or a signal comes; then nothing is left of the host's processes."""
    loop = asyncio.get_running_loop()
    ending = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ending.set)
    loop.add_reader(sys.stdin.fileno(), _ended_input, ending)
    agent = HostAgent(setup)
    runner = web.AppRunner(agent.app(), access_log=None, handle_signals=False, shutdown_timeout=0.5)
    path = socket_of(setup.run_dir, setup.host)
    path.unlink(missing_ok=True)
    await runner.setup()
    try:
        await listen(runner, path)
        print(json.dumps({"event": "ready"}), flush=True)
        await ending.wait()
    finally:
        await agent.close()
        await runner.cleanup()
        path.unlink(missing_ok=True)


def _ended_input(ending: asyncio.Event) -> None:
    if asked := os.read(sys.stdin.fileno(), 4096):
        print('{"event": "beat"}\n' * asked.count(b"\n"), end="", flush=True)
    else:
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        ending.set()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m agents.host", description="Runs the agent of one host.")
    parser.add_argument("--parent", type=int, required=True, help="process id of the machine agent")
    arguments = parser.parse_args()
    die_with_parent(arguments.parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a person's Ctrl-C ends the machine agent, which ends us
    try:
        setup = HostSetup.model_validate_json(first_line(sys.stdin.fileno()))
        HostCgroup(setup.cgroup).attach(os.getpid(), "agent")
        enter_network(setup.namespace)
        drop_capabilities()
        asyncio.run(serve(setup))
    except (OSError, ValueError, CgroupError) as error:
        print(json.dumps({"event": "error", "message": str(error)}), flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
