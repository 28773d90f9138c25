"""The server's process: where it listens, what it refuses, and that it ends when told or left alone."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from orchestrator.access import AccessError, access, parse_listen
from orchestrator.server import READY
from orchestrator.store import read_runs
from tests.orchestrator.processes import FAKE_SERVER, address_of, started, until_ended
from tests.support import PATIENCE_S, wait_until

SERVER = ["-m", "orchestrator.server", "--listen", "127.0.0.1:0"]
ANY_PORT = ("--listen", "127.0.0.1:0")


def test_it_serves_and_ends_cleanly_on_a_signal(tmp_path: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        with started(*FAKE_SERVER, *ANY_PORT, "--state", str(tmp_path)) as server:
            with urllib.request.urlopen(f"{address_of(server)}/api/v1/health", timeout=PATIENCE_S) as answer:
                assert json.load(answer)["state"] == str(tmp_path)
            server.send_signal(number)
            assert until_ended(server) == 0
            assert server.stderr is not None and server.stderr.read() == ""


def test_it_begins_with_a_lab_that_is_deployed_when_it_answers(tmp_path: Path) -> None:
    with started(*FAKE_SERVER, *ANY_PORT, "--state", str(tmp_path), "--deploy", "two-fddi") as server:
        with urllib.request.urlopen(f"{address_of(server)}/api/v1/labs", timeout=PATIENCE_S) as answer:
            labs = json.load(answer)["labs"]
        assert [(lab["name"], lab["state"]) for lab in labs] == [("two-fddi", "ready")]
        server.send_signal(signal.SIGTERM)
        assert until_ended(server) == 0


def test_it_does_not_begin_with_a_lab_that_there_is_not(tmp_path: Path) -> None:
    with started(*FAKE_SERVER, *ANY_PORT, "--state", str(tmp_path), "--deploy", "three-fddi") as server:
        assert until_ended(server) == 2
        assert server.stderr is not None and "no topology 'three-fddi'" in server.stderr.read()


def test_it_ends_when_whoever_started_it_is_gone(tmp_path: Path) -> None:
    with started(*FAKE_SERVER, *ANY_PORT, "--state", str(tmp_path), "--until-stdin-closes") as server:
        address_of(server)
        assert server.stdin is not None
        server.stdin.close()
        assert until_ended(server) == 0


def test_it_ends_even_while_somebody_follows_its_events_and_a_run_is_under_way(tmp_path: Path) -> None:
    with started(*FAKE_SERVER, *ANY_PORT, "--state", str(tmp_path)) as server:
        address = address_of(server)
        run = post(address, {"experiment": "endless"})["id"]
        with urllib.request.urlopen(f"{address}/api/v1/events?run={run}", timeout=PATIENCE_S) as events:
            events.readline()
            server.send_signal(signal.SIGTERM)
            assert until_ended(server) == 0
        assert server.stderr is not None and server.stderr.read() == ""


def test_a_unix_socket_is_private_and_gone_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "server.sock"
    with started(*FAKE_SERVER, "--unix", str(path), "--state", str(tmp_path)) as server:
        assert address_of(server) == f"unix:{path}"
        assert path.stat().st_mode & 0o077 == 0
        server.send_signal(signal.SIGTERM)
        assert until_ended(server) == 0
    assert not path.exists()


def test_a_port_in_use_is_one_clear_message_and_nothing_is_left(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        state = tmp_path / "state"
        with started(*FAKE_SERVER, "--listen", f"127.0.0.1:{port}", "--state", str(state)) as server:
            assert until_ended(server) == 1
            assert server.stderr is not None
            assert (
                server.stderr.read() == f"transship: http://127.0.0.1:{port} is in use by another program\n"
            )
        assert not state.exists()


def test_a_port_that_another_orchestrator_has_is_told_with_its_name(tmp_path: Path) -> None:
    with started(*FAKE_SERVER, *ANY_PORT, "--state", str(tmp_path / "one")) as first:
        address = address_of(first)
        where = ("--listen", address.removeprefix("http://"), "--state", str(tmp_path / "two"))
        with started(*FAKE_SERVER, *where) as second:
            assert until_ended(second) == 1
            assert second.stderr is not None
            said = second.stderr.read()
        whose = f"another orchestrator (pid {first.pid}, its results in {tmp_path}/one)"
        assert said.startswith(f"transship: {address} is in use by {whose};")
        assert len(said.splitlines()) == 1 and not (tmp_path / "two").exists()


def test_a_socket_that_a_killed_one_left_is_taken_over_and_one_in_use_is_not(tmp_path: Path) -> None:
    where = ("--unix", str(tmp_path / "s"), "--state", str(tmp_path / "state"))
    with started(*FAKE_SERVER, *where) as first:
        address_of(first)
        first.kill()
        until_ended(first)
    assert (tmp_path / "s").is_socket()
    with started(*FAKE_SERVER, *where) as second:
        address_of(second)
        with started(*FAKE_SERVER, *where) as third:
            assert until_ended(third) == 1
            assert third.stderr is not None and "somebody else listens" in third.stderr.read()
        second.send_signal(signal.SIGTERM)
        assert until_ended(second) == 0


def test_a_second_one_on_the_same_state_is_refused_and_told_of_the_first(tmp_path: Path) -> None:
    with started(*FAKE_SERVER, *ANY_PORT, "--state", str(tmp_path)) as first:
        address = address_of(first)
        with started(*FAKE_SERVER, *ANY_PORT, "--state", str(tmp_path)) as second:
            assert until_ended(second) == 1
            assert second.stderr is not None
            message = second.stderr.read()
        assert f"pid {first.pid}, at {address}" in message
        first.send_signal(signal.SIGTERM)
        until_ended(first)


def test_without_root_the_real_one_says_so(tmp_path: Path) -> None:
    state = {"TRANSSHIP_STATE": str(tmp_path / "none")}
    for arguments in (
        SERVER,
        ["-m", "orchestrator.cli", "up"],
        ["-m", "orchestrator.cli", "reproduce", "fddi"],
    ):
        drop = (
            f"import os; os.setuid(65534); os.execv({sys.executable!r}, [{sys.executable!r}, *{arguments!r}])"
        )
        command = [sys.executable, "-c", drop] if os.geteuid() == 0 else [sys.executable, *arguments]
        with started(*command, environment=state) as process:
            assert until_ended(process) == 1
            assert process.stderr is not None
            said = process.stderr.read()
        assert said.startswith("transship: labs need root")
        assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    "text",
    ["8351", "0.0.0.0:80", "10.0.0.1:80", "::1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:70000", "evil:80"],
)
def test_only_loopback_addresses_with_a_port_are_listened_at_without_a_token(text: str) -> None:
    with pytest.raises(AccessError, match="--listen"):
        access(parse_listen(text), None, None, None, ())


def test_addresses_are_understood() -> None:
    assert parse_listen("localhost:80").address == "http://127.0.0.1:80"
    assert parse_listen("[::1]:80").address == "http://[::1]:80"
    assert READY.endswith(" ")


@pytest.mark.root
def test_a_full_disk_is_a_clear_error_and_what_was_stored_is_intact(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(tmp_path)], check=True)
    try:
        with started(*FAKE_SERVER, *ANY_PORT, "--state", str(tmp_path)) as server:
            address = address_of(server)
            stored = post(address, {"experiment": "fddi"})["id"]
            wait_until(lambda: get(address, stored)["state"] == "done", "the run to end")
            with (tmp_path / "filler").open("wb", buffering=0) as filler, suppress(OSError):
                while filler.write(bytes(1024)):
                    pass
            problem = post(address, {"experiment": "fddi"})
            assert problem["status"] == 507
            assert problem["detail"] == f"no space left for results in {tmp_path}"
            (tmp_path / "filler").unlink()
            again = post(address, {"experiment": "fddi"})["id"]
            wait_until(lambda: get(address, again)["state"] == "done", "the run to end")
            server.send_signal(signal.SIGTERM)
            assert until_ended(server) == 0
        assert [run.id for run in read_runs(tmp_path)] == [again, stored]
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def post(address: str, body: dict[str, Any]) -> Any:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{address}/api/v1/runs", json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error)


def get(address: str, run: str) -> Any:
    with urllib.request.urlopen(f"{address}/api/v1/runs/{run}", timeout=PATIENCE_S) as answer:
        return json.load(answer)
