"""One machine agent per run root; a socket is taken over from the dead only."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.machine_lock import NOTICE_S, Refused, free_socket, sole_agent
from agents.processes import Child

WAITING = (
    "import pathlib, sys; from agents.machine_lock import *\nwith sole_agent(pathlib.Path(sys.argv[1])): pass"
)


@pytest.fixture
def run_root() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="ts-"))
    yield path
    shutil.rmtree(path)


async def test_a_second_agent_names_the_first_and_leaves_it_alone(run_root: Path) -> None:
    with sole_agent(run_root):
        second = Child([sys.executable, "-m", "agents.machine", "--run-root", str(run_root)])
        assert await second.wait() == 1
        assert f"a machine agent (pid {os.getpid()}) already looks after {run_root}" in second.stderr.decode()
        assert len(second.stderr.splitlines()) == 1


def test_the_run_root_is_private_and_free_again(run_root: Path) -> None:
    inner = run_root / "run"
    for _ in range(2):
        with sole_agent(inner):
            assert inner.stat().st_mode & 0o777 == 0o700


async def test_one_that_is_ending_is_waited_for(run_root: Path) -> None:
    with sole_agent(run_root) as tell_ending:
        tell_ending()
        second = Child([sys.executable, "-c", WAITING, str(run_root)])
        assert not await second.ended_within(NOTICE_S + 1), second.stderr.decode()
    assert await second.wait() == 0, second.stderr.decode()
    assert (run_root / "machine.lock").read_text() == f"{second.pid}\n"


def test_only_a_dead_socket_is_removed(run_root: Path) -> None:
    path = run_root / "s"
    free_socket(path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with pytest.raises(Refused, match="somebody else listens"):
            free_socket(path)
    free_socket(path)
    assert not path.exists()
    path.write_text("precious")
    with pytest.raises(Refused, match="is not a socket"):
        free_socket(path)
    assert path.read_text() == "precious"
