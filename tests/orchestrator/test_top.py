"""`transship top` against a fake orchestrator, on a terminal and without one."""

import io
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from orchestrator.cli.live_table import view
from tests.orchestrator.processes import (
    FAKE_CLI,
    FAKE_SERVER,
    Terminal,
    address_of,
    cli,
    started,
    until_ended,
)

LEFT, ENTERED = b"\x1b[?1049l", b"\x1b[?1049h"


@pytest.fixture
def at(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The option that names a running orchestrator, which has the lab `one`."""
    with serving(tmp_path) as process:
        server = ("--server", address_of(process))
        deploy(tmp_path, server)
        yield server
        process.send_signal(signal.SIGTERM)
        assert until_ended(process) == 0


def serving(directory: Path, listen: str = "127.0.0.1:0") -> Any:
    return started(*FAKE_SERVER, "--listen", listen, "--state", str(directory / "state"))


def deploy(directory: Path, server: tuple[str, str], lab: str = "one") -> None:
    answer = cli(directory, "deploy", "two-fddi", "--name", lab, *server)
    assert answer.returncode == 0, answer.stderr


def watched(directory: Path, server: tuple[str, str], *options: str) -> Terminal:
    return Terminal(
        *(*FAKE_CLI, str(directory), "top", "--every", "0.1", *options, *server),
        environment={"TRANSSHIP_STATE": str(directory / "state")},
        columns=60,
    )


def test_a_lab_is_watched_until_ctrl_c_and_the_terminal_is_as_it_was(
    tmp_path: Path, at: tuple[str, str]
) -> None:
    cli(tmp_path, "workload", "start", "one", "middle", "sink", "--port", "7", *at)
    with watched(tmp_path, at) as terminal:
        modes = terminal.modes()
        terminal.until(b"ring-b")
        terminal.until(b"25.0 %")
        for words in (ENTERED, b"lab one at", b"50.0", b"###...", b"middle", b"linux", b"idle: 2 of 3 hosts"):
            assert words in terminal.shown
        assert LEFT not in terminal.shown
        terminal.type(b"\x03")
        assert terminal.ended() == 0
        assert modes == terminal.modes()
    assert LEFT in terminal.shown.partition(ENTERED)[2] and b"Traceback" not in terminal.shown


def test_a_lab_that_ends_says_so(tmp_path: Path, at: tuple[str, str]) -> None:
    with watched(tmp_path, at, "one") as terminal:
        terminal.until(b"ring-b")
        cli(tmp_path, "destroy", "one", *at)
        assert terminal.ended() == 0
    assert terminal.shown.partition(LEFT)[2].strip().endswith(b"the lab one was destroyed")


def test_a_server_that_is_started_again_is_waited_for(tmp_path: Path) -> None:
    with serving(tmp_path) as process:
        server = ("--server", address_of(process))
        deploy(tmp_path, server)
        with watched(tmp_path, server) as terminal:
            terminal.until(b"ring-b")
            process.send_signal(signal.SIGTERM)
            assert until_ended(process) == 0
            terminal.until(b"; waiting")
            with serving(tmp_path, server[1].removeprefix("http://")) as again:
                assert address_of(again) == server[1]
                deploy(tmp_path, server)
                terminal.shown = b""
                terminal.until(b"50.0")
                cli(tmp_path, "destroy", "one", *server)
                assert terminal.ended() == 0
                again.send_signal(signal.SIGTERM)
                assert until_ended(again) == 0


def test_without_a_terminal_it_is_one_sample(tmp_path: Path, at: tuple[str, str]) -> None:
    for options in ((), ("--once",)):
        answer = cli(tmp_path, "top", "--every", "0.1", *options, *at)
        assert answer.returncode == 0, answer.stderr
        assert "\x1b" not in answer.stdout and answer.stdout.count("ring-a") == 1
    answer = cli(tmp_path, "top", "one", "--every", "0.1", "--format", "json", "--samples", "2", *at)
    first, second = map(json.loads, answer.stdout.splitlines())
    assert (first["lab"], first["over_s"], second["networks"]["ring-a"]["mbps"]) == ("one", 0.5, 50.0)


def test_what_to_watch_must_be_clear(tmp_path: Path, at: tuple[str, str]) -> None:
    deploy(tmp_path, at, "two")
    for arguments, status, says in (
        ((), 2, "there are several labs, name one of them: one, two"),
        (("three",), 1, "there is no lab 'three'"),
        (("one", "--samples", "2"), 2, "--samples is for --format json"),
        (("one", "--every", "0"), 2, "0.1<=x<=60"),
    ):
        answer = cli(tmp_path, "top", *arguments, *at)
        assert (answer.returncode, says in answer.stderr) == (status, True), answer.stderr
    cli(tmp_path, "destroy", "--all", *at)
    answer = cli(tmp_path, "top", *at)
    assert (answer.returncode, "there is no lab; deploy one" in answer.stderr) == (1, True)


def drawn(sample: dict[str, Any], width: int, height: int | None) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width).print(view(sample, width, height))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def large(hosts: int) -> dict[str, Any]:
    """A sample with long names and large numbers; the last host and network are the busiest."""
    workload = {
        **{"id": "w", "workload": "forwarder", "system": "linux-batch", "state": "running"},
        **{"mbps_in": 1234.5, "mbps_out": 0.0, "loss": 1.0, "lost": 5},
    }
    host = {
        **{"state": "running", "hogs": 64, "cpu": {"io": 0.12, "hogs": 12.3, "agent": None}},
        **{"containers": {"free": 16384, "posted": 7, "read": 1}, "rings": {}, "workloads": [workload]},
        "drops_per_s": {"socket_buffer": 12345.0, "no_socket": 1.0},
    }
    network = {
        **{"state": "cut", "rate_mbps": 10000.0, "medium": "shared", "mbps": 2345.0, "loss": 0.001},
        **{"backlog_bytes": 34603008, "drops_per_s": {"cut": 99999.0}, "links": {}},
    }
    idle: dict[str, Any] = {**host, "state": "idle", "hogs": 0, "containers": {}, "workloads": []}
    return {
        **{"lab": "a" * 31, "at": 1790000000.0, "over_s": 0.5},
        "hosts": {
            **{f"idle-{number}": {**idle, "drops_per_s": {}} for number in range(hosts)},
            **{f"h-{number}-with-a-longish-name": host for number in range(hosts)},
            "busiest": {**host, "drops_per_s": {"no_socket": 1e6}},
        },
        "networks": {
            **{f"n-{number}-with-a-longish-name": network for number in range(hosts)},
            "busiest": {**network, "drops_per_s": {"cut": 1e6}},
        },
    }


def test_sixty_columns_are_readable() -> None:
    lines = drawn(large(1), 60, None)
    assert max(map(len, lines)) <= 60
    text = "\n".join(lines)
    for words in ("2345", "10000", "33.0M", "0.1 %", "16384", "64: 12.3", "1234", "100.0 %", "cut 99999/s"):
        assert words in text, words
    assert "idle: 1 of 3 hosts" in text


def test_a_low_window_has_the_busiest_of_a_thousand() -> None:
    lines = drawn(large(1000), 60, 24)
    text = "\n".join(lines)
    assert text.count("busiest") >= 2 and "idle: 1000 of 2001 hosts" in text
    assert "and 996 quieter networks" in text
    assert len(lines) < 45


def test_what_is_not_known_is_a_dash() -> None:
    sample = large(1)
    sample["over_s"] = None
    dead = {**dict.fromkeys(("hogs", "containers", "rings", "drops_per_s", "workloads")), "state": "failed"}
    sample["hosts"] = {"middle": {**dead, "cpu": dict.fromkeys(("io", "hogs", "agent"))}}
    sample["networks"]["busiest"].update(mbps=None, rate_mbps=None, drops_per_s=None)
    lines = drawn(sample, 60, 24)
    assert any(line.split() == ["middle", "failed", "-", "-", "-", "-"] for line in lines)
