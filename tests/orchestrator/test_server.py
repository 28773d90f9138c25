"""The server's process: where it listens, what it refuses, and that it ends when told or left alone."""

import json
import signal
import socket
import sys
import urllib.request
from pathlib import Path

import pytest

from orchestrator.server import READY, ServerError, parse_listen
from tests.orchestrator.processes import FAKE_SERVER, address_of, started, until_ended

ANY_PORT = ("--listen", "127.0.0.1:0")


def test_it_serves_and_ends_cleanly_on_a_signal(tmp_path: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        with started(*FAKE_SERVER, *ANY_PORT, "--state", str(tmp_path)) as server:
            with urllib.request.urlopen(f"{address_of(server)}/api/v1/health") as answer:
                assert json.load(answer)["state"] == str(tmp_path)
            server.send_signal(number)
            assert until_ended(server) == 0
            assert server.stderr is not None and server.stderr.read() == ""


def test_it_ends_when_whoever_started_it_is_gone(tmp_path: Path) -> None:
    with started(*FAKE_SERVER, *ANY_PORT, "--state", str(tmp_path), "--until-stdin-closes") as server:
        address_of(server)
        assert server.stdin is not None
        server.stdin.close()
        assert until_ended(server) == 0


def test_it_ends_even_while_somebody_follows_its_events_and_a_run_is_under_way(tmp_path: Path) -> None:
    with started(*FAKE_SERVER, *ANY_PORT, "--state", str(tmp_path)) as server:
        address = address_of(server)
        body = json.dumps({"experiment": "endless"}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{address}/api/v1/runs", body, headers)
        with urllib.request.urlopen(request) as answer:
            run = json.load(answer)["id"]
        with urllib.request.urlopen(f"{address}/api/v1/events?run={run}") as events:
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
    drop = f"import os; os.setuid(65534); os.execv({sys.executable!r}, [{sys.executable!r}, *{SERVER!r}])"
    import os

    command = [sys.executable, "-c", drop] if os.geteuid() == 0 else [sys.executable, *SERVER]
    with started(*command) as server:
        assert until_ended(server) == 1
        assert server.stderr is not None
        assert "need root" in server.stderr.read()


SERVER = ["-m", "orchestrator.server", "--listen", "127.0.0.1:0"]


@pytest.mark.parametrize(
    "text",
    ["8351", "0.0.0.0:80", "10.0.0.1:80", "::1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:70000", "evil:80"],
)
def test_only_loopback_addresses_with_a_port_are_listened_at(text: str) -> None:
    with pytest.raises(ServerError, match="--listen"):
        parse_listen(text)


def test_addresses_are_understood() -> None:
    assert parse_listen("localhost:80").address == "http://127.0.0.1:80"
    assert parse_listen("[::1]:80").address == "http://[::1]:80"
    assert READY.endswith(" ")
