"""`transship workload` against a fake orchestrator."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.orchestrator.processes import FAKE_SERVER, address_of, cli, started, until_ended


@pytest.fixture
def at(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The option that names a running orchestrator, which has the lab `one`."""
    with started(*FAKE_SERVER, "--listen", "127.0.0.1:0", "--state", str(tmp_path / "state")) as process:
        server = ("--server", address_of(process))
        assert cli(tmp_path, "deploy", "two-fddi", "--name", "one", *server).returncode == 0
        yield server
        process.send_signal(signal.SIGTERM)
        assert until_ended(process) == 0


def test_workloads_are_started_listed_changed_and_stopped(tmp_path: Path, at: tuple[str, str]) -> None:
    def workload(*arguments: str) -> str:
        answer = cli(tmp_path, "workload", *arguments, *at)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    options = ("--to", "middle:7", "--rate", "5", "--size", "100", "--param", "backend=packet")
    source = workload("start", "one", "source", "source", *options).strip()
    assert source == "source-1"
    shown = workload("list", "one")
    assert "source-1" in shown and "25.0 %" in shown
    listed = json.loads(workload("list", "one", "source", "--format", "json"))
    assert listed["workloads"][0]["params"]["backend"] == "packet"
    assert workload("change", "one", "source", source, "--rate", "7") == (
        "source-1: 7 Mb/s in datagrams of 100 bytes\n"
    )
    assert workload("hogs", "one", "middle", "2") == "middle: 2 hogs\n"
    assert "middle: 2 hogs" in workload("list", "one")
    assert workload("stop", "one", "source", "--all") == "source-1: done, 10 datagrams lost\n"
    assert workload("list", "one", "source") == "no workloads\n"


def test_bad_use_is_one_message_and_status_two(tmp_path: Path, at: tuple[str, str]) -> None:
    for arguments, says in (
        (("start", "one", "source", "teleporter"), "'teleporter' is not one of"),
        (("start", "one", "source", "source", "--to", "middle"), "rate_mbps: a source needs it"),
        (("start", "one", "source", "sink", "--param", "x"), "--param 'x': give NAME=VALUE"),
        (("change", "one", "source", "source-1"), "give --rate or --size"),
        (("stop", "one", "source"), "give the ids of workloads, or --all"),
        (("hogs", "one", "middle", "99"), "count: "),
    ):
        answer = cli(tmp_path, "workload", *arguments, *at)
        assert (answer.returncode, says in answer.stderr) == (2, True), answer.stderr
