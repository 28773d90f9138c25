"""Labs of the real machine agent, through the real server: made, used, changed, and gone in the end."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from orchestrator.client import Client
from tests.orchestrator.processes import (
    ENVIRONMENT,
    REPOSITORY,
    address_of,
    started,
    until_ended,
    until_said,
)
from tests.support import PATIENCE_S, children, wait_until

pytestmark = pytest.mark.root
SERVER = (sys.executable, "-m", "orchestrator.server", "--listen", "127.0.0.1:0")
CLI = (sys.executable, "-m", "orchestrator.cli")
NAMESPACES = Path("/run/netns")


class Orchestrator:
    """A running server of its own state and run directory."""

    def __init__(self, process: "subprocess.Popen[str]", environment: dict[str, str]) -> None:
        self.process = process
        self.environment = environment
        self.address = address_of(process)
        self.run_root = Path(environment["TRANSSHIP_RUN"])

    def send(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON of an answer, or its problem."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.address}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                content = answer.read()
        except urllib.error.HTTPError as error:
            content = error.read()
        return json.loads(content) if content.startswith((b"{", b"[")) else content.decode()

    def lab(self, name: str) -> Any:
        """One lab, or the problem with it."""
        return self.send("GET", f"/api/v1/labs/{name}")

    def deploy(self, name: str) -> None:
        """Deploy two-fddi and wait."""
        self.send("POST", "/api/v1/labs", {"name": name, "topology": "two-fddi"})
        wait_until(lambda: self.lab(name)["state"] != "deploying", f"{name} to be deployed")
        assert self.lab(name)["state"] == "ready", self.lab(name)

    def machine_pid(self) -> int:
        """The machine agent's process, 0 while it is not up."""
        machine = self.send("GET", "/api/v1/machines")["machines"][0]
        return int(machine["pid"]) if machine["state"] == "up" else 0


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    """State and run directories with short paths, because Unix sockets are made below."""
    directory = Path(tempfile.mkdtemp(prefix="ts-", dir="/tmp"))
    yield {"TRANSSHIP_STATE": str(directory / "state"), "TRANSSHIP_RUN": str(directory / "run")}
    shutil.rmtree(directory)


@pytest.fixture
def orchestrator(environment: dict[str, str]) -> Iterator[Orchestrator]:
    with started(*SERVER, environment=environment) as process:
        yield Orchestrator(process, environment)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            assert until_ended(process) == 0


def namespaces(lab: str) -> list[str]:
    return [path.name for path in NAMESPACES.glob(f"transship-{lab}-*")]


def test_a_lab_carries_traffic_changes_its_rate_has_metrics_and_goes(orchestrator: Orchestrator) -> None:
    orchestrator.deploy("o-one")
    assert sorted(namespaces("o-one")) == [
        f"transship-o-one-{name}" for name in ("middle", "net", "sink", "source")
    ]
    middle = orchestrator.send("GET", "/api/v1/labs/o-one/hosts/middle")
    assert [interface["address"] for interface in middle["interfaces"]] == ["10.1.0.2", "10.2.0.1"]
    # Nobody listens there: a refusal comes from the other side of the ring.
    program = "import socket; socket.create_connection(('10.1.0.2', 9), timeout=20)"
    answer = orchestrator.send(
        "POST", "/api/v1/labs/o-one/hosts/source/exec", {"argv": ["/usr/bin/python3", "-c", program]}
    )
    assert "ConnectionRefusedError" in answer["stderr"]
    ring = orchestrator.send("PUT", "/api/v1/labs/o-one/networks/ring-a", {"rate_mbps": 50})
    assert ring["rate_mbps"] == 50
    assert 'host="middle"' in orchestrator.send("GET", "/api/v1/labs/o-one/hosts/middle/metrics")
    orchestrator.send("DELETE", "/api/v1/labs/o-one")
    wait_until(lambda: orchestrator.lab("o-one").get("status") == 404, "the lab to go")
    assert namespaces("o-one") == []


PROBE = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], 9), timeout=float(sys.argv[2]))
except ConnectionRefusedError:
    print("refused")  # by the other host, which so has been reached
except TimeoutError:
    print("nothing")
"""


def test_a_lab_is_cut_healed_stopped_and_made_another_while_its_hosts_go_on(
    orchestrator: Orchestrator,
) -> None:
    orchestrator.deploy("o-five")
    lab = "/api/v1/labs/o-five"

    def reaches(address: str, seconds: str = "20") -> bool:
        argv = ["/usr/bin/python3", "-c", PROBE, address, seconds]
        answer = orchestrator.send("POST", f"{lab}/hosts/source/exec", {"argv": argv})
        assert answer["stdout"] in ("refused\n", "nothing\n"), answer
        return bool(answer["stdout"] == "refused\n")

    def agent() -> list[int]:
        return children(orchestrator.machine_pid())

    assert reaches("10.1.0.2")
    first = agent()
    for cut in (f"{lab}/networks/ring-a", f"{lab}/hosts/middle/links/ring-a"):
        assert orchestrator.send("POST", f"{cut}/cut")["cut"]
        assert not reaches("10.1.0.2", "0.1")
        assert not orchestrator.send("POST", f"{cut}/heal")["cut"]
        assert reaches("10.1.0.2")
    assert orchestrator.send("POST", f"{lab}/hosts/middle/stop")["state"] == "stopped"
    assert not reaches("10.1.0.2", "0.1")
    refused = orchestrator.send("POST", f"{lab}/hosts/middle/exec", {"argv": ["true"]})
    assert (refused["status"], "host 'middle' of lab 'o-five' is stopped" in refused["detail"]) == (409, True)
    assert orchestrator.send("POST", f"{lab}/hosts/middle/start")["state"] == "running"
    assert reaches("10.1.0.2")
    topology = orchestrator.lab("o-five")["topology"]
    del topology["hosts"]["sink"]
    topology["hosts"]["extra"] = {}
    topology["networks"] = {
        "ring-a": {**topology["networks"]["ring-a"], "stations": ["source", "middle", "extra"], "loss": 0.5}
    }
    seen = orchestrator.send("PUT", f"{lab}?dry_run=true", {"topology": topology})
    assert len(seen["changes"]) == 7
    orchestrator.send("PUT", lab, {"topology": topology})
    wait_until(lambda: orchestrator.lab("o-five")["state"] != "changing", "the lab to change")
    changed = orchestrator.lab("o-five")
    assert (changed["state"], changed["message"], changed["networks"][0]["loss"]) == ("ready", "", 0.5)
    orchestrator.send("PUT", f"{lab}/networks/ring-a", {"rate_mbps": 10})
    assert reaches("10.1.0.2") and reaches("10.1.0.3")
    assert agent() == first
    assert "transship-o-five-sink" not in namespaces("o-five")


def test_ten_destroys_at_once_all_succeed_of_one_lab_and_of_ten(orchestrator: Orchestrator) -> None:
    client = Client(orchestrator.address)
    names = [f"o-ten-{number}" for number in range(10)]
    with ThreadPoolExecutor(10) as at_once:
        for wanted in (names[:1] * 10, names):
            for lab in at_once.map(lambda name: client.deploy(name, "one-host"), dict.fromkeys(wanted)):
                assert lab.state == "ready"
                client.set_hogs(lab.name, "workstation", 1)  # so that there is something to end
            answers = list(at_once.map(client.destroy_lab, wanted))
            # One that came when the lab was gone had nothing to do, which is no error.
            assert {lab.state for lab in answers if lab is not None} == {"destroying"}
            wait_until(lambda: client.labs() == [], "all labs to go")
            assert [left for name in names for left in namespaces(name)] == []
    assert (
        orchestrator.machine_pid()
        and [path.name for path in orchestrator.run_root.iterdir() if path.is_dir()] == []
    )


def test_when_the_server_ends_or_is_killed_its_labs_are_gone(environment: dict[str, str]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with started(*SERVER, environment=environment) as process:
            orchestrator = Orchestrator(process, environment)
            orchestrator.deploy("o-two")
            agent = orchestrator.machine_pid()
            process.send_signal(number)
            until_ended(process)
            wait_until(lambda: namespaces("o-two") == [], "the lab to go")
            wait_until(lambda: not Path(f"/proc/{agent}").exists(), "the agent to end")  # noqa: B023


def test_a_killed_machine_agent_is_replaced_and_its_labs_are_marked_and_cleaned(
    orchestrator: Orchestrator,
) -> None:
    client = Client(orchestrator.address)
    names = ["o-three", "o-six"]
    for name in names:
        client.deploy(name, "one-host")
        client.set_hogs(name, "workstation", 1)
    agent = orchestrator.machine_pid()
    os.kill(agent, signal.SIGKILL)
    wait_until(lambda: orchestrator.machine_pid() not in (0, agent), "a fresh machine agent")
    for name in names:
        assert namespaces(name) == [] and not (orchestrator.run_root / name).exists()
        lab = client.lab(name)
        assert (lab.state, f"pid {agent} was killed by SIGKILL" in lab.message) == ("failed", True)
    assert client.health().status == "ok"
    client.destroy_lab("o-three")
    wait_until(lambda: [lab.name for lab in client.labs()] == ["o-six"], "the marked lab to go")
    client.deploy("o-six", "one-host")


def test_a_second_machine_agent_is_refused_and_told_of_the_first(orchestrator: Orchestrator) -> None:
    environment = {
        **orchestrator.environment,
        "TRANSSHIP_STATE": orchestrator.environment["TRANSSHIP_STATE"] + "2",
    }
    with started(*SERVER, environment=environment) as second:
        assert until_ended(second) == 1
        assert second.stderr is not None
        assert f"pid {orchestrator.machine_pid()}" in second.stderr.read()


def run_under_way(process: "subprocess.Popen[str]", environment: dict[str, str]) -> int:
    """The private orchestrator's pid, once its run has got so far that workloads run."""
    until_said(process, "calibration")
    lock = Path(environment["TRANSSHIP_STATE"]) / "orchestrator.lock"
    server = int(lock.read_text().split()[1].rstrip(","))
    wait_until(lambda: workloads(server), "workloads to run")
    return server


def machine_agents(server: int) -> list[int]:
    return children(server)[:1]


def host_agents(server: int) -> list[int]:
    return [agent for machine in machine_agents(server) for agent in children(machine)]


def workloads(server: int) -> list[int]:
    return [workload for agent in host_agents(server) for workload in children(agent)]


def kill_first(find: Callable[[], list[int]]) -> int:
    """Kills the first process found; between two steps of a run there may be none for a moment."""
    killed: list[int] = []

    def kill() -> list[int]:
        for pid in find()[:1]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
        return killed

    wait_until(kill, "a process to kill")
    return killed[0]


@pytest.mark.parametrize("victim", ["nobody", "server", "machine agent", "host agent", "workload"])
def test_reproduce_interrupted_or_robbed_of_a_process_ends_and_leaves_nothing(
    environment: dict[str, str], victim: str
) -> None:
    command = (*CLI, "reproduce", "fddi", "--quick", "--state", environment["TRANSSHIP_STATE"])
    with started(*command, environment=environment) as process:
        server = run_under_way(process, environment)
        if victim == "nobody":
            process.send_signal(signal.SIGINT)
        else:
            pid = kill_first(
                {
                    "server": lambda: [server],
                    "machine agent": lambda: machine_agents(server),
                    "host agent": lambda: host_agents(server),
                    "workload": lambda: workloads(server),
                }[victim]
            )
        status = until_ended(process, 240)  # a workload that had done its work may not be missed
        assert process.stderr is not None
        said = process.stderr.read()
    if victim == "nobody":
        assert (status, "interrupted" in said) == (130, True)
    elif status != 0:
        assert status == 1, said
        assert "SIGKILL" in said
        assert f"pid {pid}" in said or victim == "workload"
    assert "Traceback" not in said
    assert namespaces("fddi") == []
    assert not Path(f"/proc/{server}").exists()
    assert [path.name for path in Path(environment["TRANSSHIP_RUN"]).iterdir()] == ["machine.lock"]


def test_paths_of_the_repository_do_not_matter(environment: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    shutil.copy(REPOSITORY / "topologies" / "two-fddi.yaml", file)
    with started(*SERVER, environment=environment) as process:
        orchestrator = Orchestrator(process, environment)
        answer = subprocess.run(
            [*CLI, "deploy", "mine.yaml", "--name", "o-four", "--server", orchestrator.address],
            cwd=tmp_path,
            env={**ENVIRONMENT, **environment},
            capture_output=True,
            text=True,
        )
        assert answer.returncode == 0, answer.stderr
        process.send_signal(signal.SIGTERM)
        assert until_ended(process) == 0
    assert namespaces("o-four") == []
