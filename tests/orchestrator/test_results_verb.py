"""`results` with its commands, against a fake orchestrator where one is needed."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

from orchestrator.store import Store
from tests.orchestrator.processes import FAKE_SERVER, address_of, cli, started, until_ended
from tests.orchestrator.run_files import VALUES, stored

A, B = "20260101-000000-aaaaaa", "20260101-000001-bbbbbb"


def two_runs(state: Path) -> None:
    async def make() -> None:
        store = await Store.open(state)
        await stored(store, A)
        faster = {system: [1.2 * value for value in values] for system, values in VALUES.items()}
        await stored(store, B, values=faster)
        await store.close()

    asyncio.run(make())


def test_runs_are_shown_compared_exported_and_imported(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    two_runs(tmp_path / "state")
    assert "verdict: reproduced" in cli(tmp_path, "results", "aaaaaa").stdout.splitlines()

    answer = cli(tmp_path, "results", "compare", "aaaaaa", "bbbbbb", environment={"COLUMNS": "80"})
    assert answer.returncode == 0, answer.stderr
    lines = answer.stdout.splitlines()
    assert lines[0] == f"cp: A = {A}, B = {B}"
    assert any(
        line.startswith("linux ") and "1.20 [1.1" in line and line.endswith("higher") for line in lines
    )
    assert any(line.startswith("shipping / linux") and line.endswith("cannot tell") for line in lines)
    assert "- cannot tell (1): the interval includes no difference" in lines
    found = json.loads(cli(tmp_path, "results", "compare", A, B, "--format", "json").stdout)
    assert (found["a"], found["b"], found["rows"][0]["value"]["ratio"]) == (A, B, 1.2)

    file = tmp_path / "run.zip"
    answer = cli(tmp_path, "results", "export", "aaaaaa", str(file))
    assert answer.stdout == f"run {A}: exported into {file}\n"
    elsewhere = ("--state", str(tmp_path / "elsewhere"))
    answer = cli(tmp_path, "results", "import", str(file), *elsewhere)
    assert answer.stdout.startswith(f"run {A}: imported; done on "), answer.stderr
    listed = cli(tmp_path, "results", *elsewhere, environment={"COLUMNS": "120"}).stdout
    assert A in listed and "done (from " in listed
    assert cli(tmp_path, "results", "last", "--figure", *elsewhere).stdout == (
        f"{tmp_path}/elsewhere/runs/{A}/figure.png\n"
    )
    again = cli(tmp_path, "results", "import", str(file), *elsewhere)
    assert (again.returncode, again.stderr) == (1, f"transship: there is a run {A} already\n")


def test_results_are_those_of_the_orchestrator_that_the_other_verbs_use(tmp_path: Path) -> None:
    kept, other = tmp_path / "kept", tmp_path / "other"
    kept.mkdir()
    two_runs(kept)
    with started(*FAKE_SERVER, "--listen", "127.0.0.1:0", "--state", str(kept)) as server:
        address = address_of(server)
        runs = {"FAKE_DEFAULT": address, "TRANSSHIP_STATE": ""}
        chosen = {"FAKE_DEFAULT": address, "TRANSSHIP_STATE": str(other)}
        given = ("--server", address)
        for place, environment in (((), runs), (given, {"TRANSSHIP_STATE": ""}), (given, chosen)):
            answer = cli(tmp_path, "results", *place, environment={**environment, "COLUMNS": "120"})
            assert A in answer.stdout and B in answer.stdout, answer.stderr
        assert cli(tmp_path, "results", environment=chosen).stdout == f"no runs in {other}\n"
        named = ("--state", str(other))
        for arguments, environment, how in (
            (["run", "fddi"], chosen, f"TRANSSHIP_STATE={other}"),
            (["run", "fddi", *named], runs, f"--state '{other}'"),
            (["results", *given, *named], runs, f"--state '{other}'"),
        ):
            answer = cli(tmp_path, *arguments, environment=environment)
            words = f"transship: {how}: the orchestrator at {address} keeps its results in {kept};"
            assert (answer.returncode, answer.stderr.startswith(words)) == (2, True), answer.stderr
        assert not other.exists()
        lock = kept / "orchestrator.lock"
        ours = lock.read_text()
        lock.write_text("pid 1, at http://127.0.0.1:1\n")  # as where that path is another machine's
        answer = cli(tmp_path, "results", *given, environment=runs)
        assert (answer.returncode, "which is not here" in answer.stderr) == (1, True), answer.stderr
        lock.write_text(ours)
        assert cli(tmp_path, "run", "fddi", *given, environment=chosen).returncode == 0
        server.send_signal(signal.SIGTERM)
        assert until_ended(server) == 0


def test_each_way_to_fail_has_its_status_and_one_message(tmp_path: Path) -> None:
    (tmp_path / "no.zip").write_text("no")
    for arguments, status, says in (
        (["compare", "a", "b"], 1, "there is no run 'a'"),
        (["compare", "a"], 2, "Missing argument 'B'"),
        (["export", "a", "x.zip"], 1, "there is no run 'a'"),
        (["import", str(tmp_path / "none.zip")], 2, "does not exist"),
        (["import", str(tmp_path / "no.zip")], 2, "the archive is damaged"),
    ):
        answer = cli(tmp_path, "results", *arguments)
        assert (answer.returncode, says in answer.stderr) == (status, True), answer.stderr
        assert "Traceback" not in answer.stderr
    assert cli(tmp_path, "results", "--help").returncode == 0
