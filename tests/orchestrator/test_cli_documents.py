"""An experiment in a file: what a user is told of it, with file and line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agents.errors import Problem
from orchestrator.cli.client import ProblemReply
from orchestrator.cli.documents import DocumentFile
from orchestrator.cli.failures import Failure
from orchestrator.connection import Refused
from orchestrator.engine import LocalEngine
from tests.orchestrator.processes import cli

TEXT = """name: mine
topology: two-fddi
workloads:
  from: {workload: source, host: source, to: relay, rate: 60, size: 4300}
  relay: {workload: forwarder, host: middle, to: into}
  into: {workload: sink, host: sink}
factors:
  relay.system: [linux, shipping]
  hogs:
    - 0
    - 1
"""


def told(path: Path) -> str:
    """What the user reads about this file."""
    file = DocumentFile(path)
    with pytest.raises(Problem) as caught:
        LocalEngine().topology("mine", {"document": file.value})
    refused = Refused(422, json.dumps(caught.value.document()).encode())
    return str(file.explained(ProblemReply(refused)))


def test_a_file_that_is_right_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(TEXT)
    assert LocalEngine().topology("mine", {"document": DocumentFile(tmp_path / "mine.yaml").value})
    (tmp_path / "mine.json").write_text(json.dumps(DocumentFile(tmp_path / "mine.yaml").value))
    assert DocumentFile(tmp_path / "mine.json").value == DocumentFile(tmp_path / "mine.yaml").value


@pytest.mark.parametrize(
    ("before", "after", "line", "says"),
    [
        ("- 1", "- 99", 11, "factors.hogs.1: "),
        ("[linux, shipping]", "[linux, dpdk]", 8, "factors.relay.system.1: "),
        ("host: middle", "host: centre", 5, "workloads.relay.host: there is no host 'centre'"),
        ("topology: two-fddi", "topology: chain,1", 2, "topology.chain: "),
        ("name: mine", "name: mine\nspeed: 1", 2, "speed: is not a field known here"),
    ],
)
def test_what_is_wrong_is_told_with_file_and_line(
    tmp_path: Path, before: str, after: str, line: int, says: str
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(TEXT.replace(before, after, 1))
    assert told(path).startswith(f"{path}:{line}: {says}")


def test_a_topology_may_be_a_file_beside_the_document(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text("name: lab\nhosts: {a: {}}\nnetworks: {wire: {stations: [a]}}\n")
    (tmp_path / "mine.yaml").write_text(TEXT.replace("two-fddi", "lab.yaml"))
    topology: Any = DocumentFile(tmp_path / "mine.yaml").value["topology"]
    assert list(topology["hosts"]) == ["a"]
    (tmp_path / "lab.yaml").write_text("name: lab\n")
    with pytest.raises(Failure, match=r"mine.yaml:2: topology: .*lab.yaml.*hosts"):
        DocumentFile(tmp_path / "mine.yaml")


@pytest.mark.parametrize(
    ("text", "says"),
    [("- one\n", "mine.yaml:1: an experiment is a mapping"), ("a: [\n", "mine.yaml:2: is not YAML")],
)
def test_what_is_no_document_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    answer = cli(tmp_path, "run", str(tmp_path / "mine.yaml"))
    assert answer.returncode == 2
    assert says in answer.stderr
    assert "cannot be read" in cli(tmp_path, "run", str(tmp_path / "none.yaml")).stderr


def test_a_dry_run_says_how_long_and_a_run_goes_on(tmp_path: Path) -> None:
    answer = cli(tmp_path, "run", "fddi", "--dry-run")
    assert (answer.returncode, answer.stdout) == (0, "fddi: 2 combinations, 2 trials, about 1 min 15 s\n")
    answer = cli(tmp_path, "run", "broken")
    assert answer.returncode == 1
    assert "broken: 2 combinations" in answer.stderr
    answer = cli(tmp_path, "run", "--resume", "last")
    assert (answer.returncode, "nothing was sent" in answer.stderr) == (1, True)
    assert cli(tmp_path, "run", "fddi").returncode == 0
    assert "is done" in cli(tmp_path, "run", "--resume", "last").stderr
    assert cli(tmp_path, "run").returncode == 2
    assert cli(tmp_path, "reproduce", str(tmp_path / "mine.yaml")).returncode == 2
