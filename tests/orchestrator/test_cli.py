"""The command line against a fake orchestrator: what it prints where, and its exit statuses."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.cli.main import VERBS
from orchestrator.store import read_runs
from tests.orchestrator.fake_engine import result_of
from tests.orchestrator.processes import (
    FAKE_CLI,
    FAKE_SERVER,
    address_of,
    cli,
    started,
    until_ended,
    until_said,
)
from tests.support import wait_until


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of a running orchestrator."""
    with started(*FAKE_SERVER, "--listen", "127.0.0.1:0", "--state", str(tmp_path / "state")) as process:
        yield address_of(process)
        process.send_signal(signal.SIGTERM)
        assert until_ended(process) == 0


def sockets(directory: Path) -> list[Path]:
    return list(directory.glob("*.sock"))


def test_help_is_there_at_once_and_names_every_verb() -> None:
    answer = cli(Path("/nowhere"), "--help")
    assert (answer.returncode, answer.stderr) == (0, "")
    imported = cli(Path("/nowhere"), "--help", environment={"PYTHONPROFILEIMPORTTIME": "1"}).stderr
    assert "click" in imported
    for slow in ("aiohttp", "pydantic", "numpy", "matplotlib", "pyroute2"):
        assert slow not in imported
    for verb in VERBS:
        assert f"\n  {verb} " in answer.stdout
        assert cli(Path("/nowhere"), verb, "--help").returncode == 0 or verb == "test"


def test_reproduce_prints_published_and_measured_and_cleans_up(tmp_path: Path) -> None:
    answer = cli(tmp_path, "reproduce", "fddi", "--quick")
    assert answer.returncode == 0, answer.stderr
    lines = answer.stdout.splitlines()
    assert any("linux-batch" in line and "17.2 [16.5, 18.0]" in line and "81.0 %" in line for line in lines)
    assert any(
        "shipping / linux-batch" in line and "1.30" in line and "1.90 [1.70, 2.10]" in line for line in lines
    )
    assert "verdict: reproduced" in lines
    figure = Path(next(line for line in lines if line.startswith("figure: "))[8:])
    assert figure.is_file() and figure.is_relative_to(tmp_path / "state")
    assert "trials: 2/2" in answer.stderr
    assert sockets(tmp_path) == []


def test_json_is_the_result_and_nothing_else(tmp_path: Path) -> None:
    answer = cli(tmp_path, "reproduce", "fddi", "--format", "json", "--state", str(tmp_path / "other"))
    assert json.loads(answer.stdout) == result_of("fddi", "reproduced")
    assert (tmp_path / "other" / "index.sqlite").exists()


def test_sixty_columns_are_enough(tmp_path: Path) -> None:
    answer = cli(tmp_path, "reproduce", "fddi", environment={"COLUMNS": "60"})
    assert answer.returncode == 0
    lines = [line for line in answer.stdout.splitlines() if not line.startswith("figure: ")]
    assert max(map(len, lines)) <= 60
    assert any("linux-batch" in line and "17.2 [16.5, 18.0]" in line for line in lines)


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["reproduce", "invalid"], 3, ""),
        (["run", "invalid"], 3, ""),
        (["reproduce", "broken"], 1, "failed: fault in the experiment: ZeroDivisionError: nothing was sent"),
        (["reproduce", "full"], 1, "no space left for results"),
        (["reproduce", "none"], 2, "there is no experiment 'none'; there are fddi"),
        (["reproduce"], 2, "EXPERIMENT"),
        (["reproduce", "fddi", "--trials", "0"], 2, "--trials"),
        (["reproduce", "fddi", "--profile", "fast"], 2, "'fast' is not one of 'period', 'scaled', 'modern'"),
        (["reproduce", "fddi", "--speed"], 2, "No such option"),
        (["reproduce", "fddi", "--server", "ftp://x"], 2, "--server 'ftp://x'"),
        (["reproduce", "fddi", "--server", "http://127.0.0.1:1"], 1, "no Transship orchestrator answers"),
        (["reproduce", "fddi", "--state", "/proc/none"], 1, "cannot use the state directory /proc/none"),
        (["deploy", "two-fddi"], 1, "start one with './transship up'"),
        (["inspect"], 1, "start one with './transship up'"),
        (["deploy", "none"], 2, "no topology 'none'"),
        (["bench", "none"], 2, "there is no benchmark 'none'"),
        (["results", "none"], 1, "there is no run 'none'"),
        (["fly"], 2, "No such command 'fly'"),
        (["run", "fddi", "--lab", "none"], 1, "there is no lab 'none'"),
    ],
)
def test_each_way_to_end_has_its_status_and_one_message(
    tmp_path: Path, arguments: list[str], status: int, says: str
) -> None:
    answer = cli(tmp_path, *arguments)
    assert answer.returncode == status, answer.stderr
    assert says in answer.stderr
    assert "Traceback" not in answer.stderr
    assert sockets(tmp_path) == []


def test_a_lab_is_deployed_shown_used_and_destroyed(tmp_path: Path, server: str) -> None:
    at = ("--server", server)
    answer = cli(tmp_path, "deploy", "two-fddi", "--name", "one", *at)
    assert answer.stdout.startswith("lab one: 3 hosts, 2 networks, ")
    assert (
        cli(tmp_path, "deploy", "two-fddi", "--name", "one", *at).stdout
        == "the lab one is deployed already\n"
    )
    answer = cli(tmp_path, "deploy", "chain,3", "--name", "one", *at)
    assert (answer.returncode, "another topology" in answer.stderr) == (1, True)
    assert "one" in cli(tmp_path, "inspect", *at).stdout
    shown = cli(tmp_path, "inspect", "one", *at).stdout
    assert "10.1.0.1/24" in shown and "ring-b" in shown
    assert json.loads(cli(tmp_path, "inspect", "one", "--format", "json", *at).stdout)["state"] == "ready"
    answer = cli(tmp_path, "exec", *at, "one", "middle", "echo", "-n", "--all")
    assert (answer.returncode, answer.stdout) == (0, "echo -n --all")
    assert cli(tmp_path, "exec", *at, "one", "middle", "false").returncode == 3
    answer = cli(tmp_path, "run", "fddi", "--lab", "one", *at)
    assert (answer.returncode, "done, reproduced" in answer.stdout) == (0, True)
    assert cli(tmp_path, "destroy", "one", *at).stdout == "lab one: destroyed\n"
    answer = cli(tmp_path, "destroy", "one", *at)
    assert (answer.returncode, answer.stdout) == (0, "lab one: there is none\n")


def test_a_fault_in_a_topology_names_file_and_line(tmp_path: Path, server: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\nhosts:\n  a: {}\nnetworks:\n  ring:\n    rate_mbps: -3\n    stations: [a]\n")
    answer = cli(tmp_path, "deploy", str(file), "--server", server)
    assert answer.returncode == 2
    assert f"{file}:6: networks.ring.rate_mbps" in answer.stderr


def test_results_are_listed_and_shown_without_an_orchestrator(tmp_path: Path) -> None:
    assert cli(tmp_path, "results").stdout.startswith("no runs in")
    assert cli(tmp_path, "run", "fddi").returncode == 0
    assert cli(tmp_path, "run", "broken").returncode == 1
    listed = json.loads(cli(tmp_path, "results", "--format", "json").stdout)["runs"]
    assert [run["state"] for run in listed] == ["failed", "done"]
    done = listed[1]["id"]
    assert done in cli(tmp_path, "results").stdout
    assert "verdict: reproduced" in cli(tmp_path, "results", done[-6:]).stdout
    assert Path(cli(tmp_path, "results", done, "--figure").stdout.strip()).is_file()
    answer = cli(tmp_path, "results", "last")
    assert (answer.returncode, "nothing was sent" in answer.stderr) == (1, True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interruption_cancels_cleans_and_says_so_even_when_repeated(tmp_path: Path, number: int) -> None:
    state = {"TRANSSHIP_STATE": str(tmp_path / "state")}
    with started(*FAKE_CLI, str(tmp_path), "reproduce", "endless", environment=state) as process:
        assert process.stderr is not None
        until_said(process, "trials: 0/2")
        process.send_signal(number)
        process.send_signal(number)
        assert until_ended(process) == 128 + number
        said = process.stderr.read()
    assert f"transship: interrupted ({signal.Signals(number).name})" in said
    assert "Traceback" not in said
    assert sockets(tmp_path) == []
    listed = json.loads(cli(tmp_path, "results", "--format", "json").stdout)["runs"]
    assert [run["state"] for run in listed] == ["cancelled"]


def test_interrupted_at_any_moment_it_ends_and_leaves_nothing(tmp_path: Path) -> None:
    for milliseconds in range(0, 1200, 150):
        state = tmp_path / f"state-{milliseconds}"
        with started(
            *FAKE_CLI, str(tmp_path), "reproduce", "endless", environment={"TRANSSHIP_STATE": str(state)}
        ) as process:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(milliseconds / 1000)
            process.send_signal(signal.SIGINT)
            status = until_ended(process)
            assert process.stderr is not None
            said = process.stderr.read()
        # Before Python has begun to run our code, the signal's own effect is all there is, or Python's.
        early = status == -signal.SIGINT or "Failed to import the site module" in said
        assert status == 130 or (early and not state.exists()), said
        assert sockets(tmp_path) == []


def test_the_command_line_killed_its_orchestrator_ends_too(tmp_path: Path) -> None:
    state = {"TRANSSHIP_STATE": str(tmp_path / "state")}
    with started(*FAKE_CLI, str(tmp_path), "reproduce", "endless", environment=state) as process:
        until_said(process, "trials: 0/2")
        os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: sockets(tmp_path) == [], "the private orchestrator to end")


def test_its_orchestrator_killed_the_verb_fails_with_a_clear_message(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with started(
        *FAKE_CLI, str(tmp_path), "reproduce", "endless", environment={"TRANSSHIP_STATE": str(state)}
    ) as process:
        assert process.stderr is not None
        until_said(process, "trials: 0/2")
        server = int((state / "orchestrator.lock").read_text().split()[1].rstrip(","))
        os.kill(server, signal.SIGKILL)
        assert until_ended(process) == 1
        said = process.stderr.read()
    assert f"the orchestrator died (pid {server}, killed by SIGKILL)" in said
    assert sockets(tmp_path) == []
    assert json.loads(cli(tmp_path, "run", "fddi", "--format", "json").stdout)["state"] == "done"
    listed = json.loads(cli(tmp_path, "results", "--format", "json").stdout)["runs"]
    assert [(run["state"], run["message"]) for run in listed][1] == (
        "interrupted",
        "interrupted: the orchestrator died",
    )


def test_its_orchestrator_stopped_by_somebody_the_verb_says_so(tmp_path: Path) -> None:
    with started(*FAKE_SERVER, "--listen", "127.0.0.1:0", "--state", str(tmp_path / "state")) as server:
        with started(*FAKE_CLI, str(tmp_path), "run", "endless", "--server", address_of(server)) as process:
            assert process.stderr is not None
            until_said(process, "trials: 0/2")
            server.send_signal(signal.SIGTERM)
            assert until_ended(process) == 1
            assert "cancelled: the orchestrator stopped" in process.stderr.read()
        assert until_ended(server) == 0


def test_its_server_killed_the_verb_says_that_the_run_goes_on_with_the_next(tmp_path: Path) -> None:
    with started(*FAKE_SERVER, "--listen", "127.0.0.1:0", "--state", str(tmp_path / "state")) as server:
        with started(*FAKE_CLI, str(tmp_path), "run", "endless", "--server", address_of(server)) as process:
            until_said(process, "trials: 0/2")
            server.kill()
            assert until_ended(process) == 1
            assert process.stderr is not None
            said = process.stderr.read()
        until_ended(server)
    (run,) = read_runs(tmp_path / "state")
    assert said.endswith(f"and the run {run.id} goes on when it is started again\n")
