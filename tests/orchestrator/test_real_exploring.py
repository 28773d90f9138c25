"""A lab explored by hand through the real server: workloads, hogs, captures, a console."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.agents.pcapng_reader import read
from tests.orchestrator.processes import ENVIRONMENT, Terminal, started, until_ended
from tests.orchestrator.test_real_labs import CLI, SERVER, Orchestrator
from tests.support import PATIENCE_S, wait_until

pytestmark = pytest.mark.root
LAB = "o-look"


@pytest.fixture(scope="module")
def lab() -> Iterator[Orchestrator]:
    """A server with a lab."""
    directory = Path(tempfile.mkdtemp(prefix="ts-", dir="/tmp"))
    environment = {"TRANSSHIP_STATE": str(directory / "state"), "TRANSSHIP_RUN": str(directory / "run")}
    with started(*SERVER, environment=environment) as process:
        orchestrator = Orchestrator(process, environment)
        orchestrator.deploy(LAB)
        yield orchestrator
        process.send_signal(signal.SIGTERM)
        assert until_ended(process) == 0
    shutil.rmtree(directory)


def cli(lab: Orchestrator, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [*CLI, *arguments, "--server", lab.address],
        env={**ENVIRONMENT, **lab.environment},
        capture_output=True,
        timeout=2 * PATIENCE_S,
    )


def test_datagrams_flow_change_and_stop_as_asked(lab: Orchestrator) -> None:
    hosts = f"/api/v1/labs/{LAB}/hosts"

    def start(host: str, **asked: Any) -> Any:
        return lab.send("POST", f"{hosts}/{host}/workloads", asked)

    sink = start("sink", workload="sink", system="linux-batch")
    forwarder = start("middle", workload="forwarder", system="shipping", to="sink", network="ring-a")
    assert forwarder["manager"]["state"] == "running"
    source = start("source", workload="source", to="middle", rate_mbps=0.01, size=1000)
    assert (sink["state"], source["state"]) == ("running", "running"), (sink, source)
    again = start("sink", workload="sink", system="linux")
    assert (again["status"], again["field"], "'10.2.0.2:9000'" in again["detail"]) == (422, "port", True)
    one = f"{hosts}/source/workloads/{source['id']}"
    assert lab.send("PATCH", one, {"rate_mbps": 20, "size": 2000})["params"]["size"] == 2000
    assert lab.send("PUT", f"{hosts}/middle/hogs", {"count": 1})["running"] == 1

    def flowing() -> bool:
        found = lab.send("GET", f"{hosts}/sink/workloads?over_s=0.2")["workloads"][0]
        return bool(found["mbps_in"] and found["loss"] is not None)

    wait_until(flowing, "rate and loss to be seen")
    shown = cli(lab, "workload", "list", LAB).stdout.decode()
    assert all(one["id"] in shown for one in (source, forwarder, sink)) and "middle: 1 hog" in shown
    assert lab.send("PUT", f"{hosts}/middle/hogs", {"count": 0})["count"] == 0
    sent = lab.send("DELETE", one)["result"]["sent"]
    place = f"{hosts}/sink/workloads/{sink['id']}"

    def counters() -> Any:
        return lab.send("GET", f"{place}?over_s=0")["counters"]

    wait_until(lambda: counters()["datagrams_expected"] == sent, "the last datagram to arrive")
    ended = lab.send("DELETE", place)
    assert ended["state"] == "done" and ended["lost"] == ended["result"]["lost"]
    assert lab.send("DELETE", f"{hosts}/middle/workloads/{forwarder['id']}")["manager"]["state"] == "done"


def test_a_capture_of_the_command_line_is_read_by_a_program_in_the_pipe(lab: Orchestrator) -> None:
    with started(
        *CLI, "capture", LAB, "ring-a", "--limit", "4", "-o", "/dev/stdout", "--server", lab.address
    ) as capture:
        assert capture.stdout is not None
        descriptor = capture.stdout.fileno()
        begun = os.read(descriptor, 65536)
        argv = ["ping", "-c", "1", "10.1.0.2"]
        lab.send("POST", f"/api/v1/labs/{LAB}/hosts/source/exec", {"argv": argv})
        data = begun
        while more := os.read(descriptor, 65536):
            data += more
        assert until_ended(capture) == 0
    frames = read(data).frames
    assert len(frames) == 4
    assert any(frame[12:14] == b"\x08\x00" and frame[23] == 1 for _, frame, _, _ in frames)  # ICMP


def test_a_capture_is_ended_with_control_c_and_says_how_much_it_has(
    lab: Orchestrator, tmp_path: Path
) -> None:
    file = tmp_path / "frames.pcapng"
    arguments = ("middle", "--interface", "eth0", "-o", str(file), "--server", lab.address)
    with started(*CLI, "capture", LAB, *arguments) as capture:
        wait_until(lambda: file.exists() and file.stat().st_size, "the capture to have begun")
        capture.send_signal(signal.SIGINT)
        assert until_ended(capture) == 0
        assert capture.stderr is not None
        assert f" bytes to {file}" in capture.stderr.read()
    assert read(file.read_bytes()).interface[0] == "eth0"
    answer = cli(lab, "capture", LAB, "middle")
    assert answer.returncode == 2 and b"eth0 (ring-a), eth1 (ring-b)" in answer.stderr


def test_a_console_of_the_command_line_is_a_terminal(lab: Orchestrator) -> None:
    command = (*CLI, "console", LAB, "middle", "--server", lab.address)
    with Terminal(*command, environment={**lab.environment, "TERM": "vt100"}) as terminal:
        terminal.until(b"$ " if os.geteuid() else b"# ")
        terminal.type(b"uname -n; cat /proc/net/dev; echo =$TERM$((40+2))=; exit 5\r")
        terminal.until(b"=vt10042=")
        assert terminal.ended() == 5
    assert b"eth1:" in terminal.shown and f"middle.{LAB}".encode() in terminal.shown
    answer = cli(lab, "console", LAB, "middle")
    assert answer.returncode == 2 and b"a console needs a terminal" in answer.stderr


def test_a_stranger_gets_no_answer_of_the_machine_agent(lab: Orchestrator) -> None:
    socket = Path(lab.environment["TRANSSHIP_RUN"]) / "machine.sock"
    program = (
        "import asyncio, aiohttp, json, sys\n"
        "async def main():\n"
        "    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(sys.argv[1])) as session:\n"
        "        async with session.get('http://agent/health') as answer:\n"
        "            print(json.dumps([answer.status, dict(answer.headers)]))\n"
        "asyncio.run(main())"
    )
    answer = subprocess.run([CLI[0], "-c", program, str(socket)], capture_output=True, timeout=PATIENCE_S)
    status, headers = json.loads(answer.stdout)
    assert status == 401 and "Transship-Agent" not in headers
