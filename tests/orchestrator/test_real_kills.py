"""The server killed (SIGKILL) at each step of labs and runs, and started again at once: what was under way
goes on or is marked, and nothing is left on the machine that no lab has."""

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestrator.api.models import RunView
from orchestrator.client import Client
from orchestrator.connection import Event
from tests.orchestrator.processes import address_of, started, until_ended
from tests.support import wait_until

pytestmark = pytest.mark.root
SERVER = (sys.executable, "-m", "orchestrator.server", "--listen", "127.0.0.1:0")
LAB = "o-killed"
TOPOLOGY = "chain,30"
WHOLE = 31
"""Namespaces that it has."""

EXPERIMENT: dict[str, Any] = {
    "name": "o-run",
    "topology": "chain,2",
    "workloads": {
        "from": {"workload": "source", "host": "w1", "to": "into", "rate": 10},
        "into": {"workload": "sink", "host": "w2"},
    },
    "factors": {"size": [700, 1400]},
    "plan": {"trials": 2, "warmup": 0.1, "duration": 0.3},
}


class Place:
    """A state and a run directory, with one server after the other."""

    def __init__(self, directory: Path) -> None:
        self.run_root = directory / "run"
        self.environment = {"TRANSSHIP_STATE": str(directory / "state"), "TRANSSHIP_RUN": str(self.run_root)}

    @contextmanager
    def server(self) -> Iterator[Client]:
        """Killed at the end."""
        with started(*SERVER, environment=self.environment) as process:
            yield Client(address_of(process))
            os.kill(process.pid, signal.SIGKILL)
            until_ended(process)

    def labs(self) -> set[str]:
        """Every lab of which the machine has anything: records, namespaces, control groups."""
        found = {path.parent.name for path in self.run_root.glob("*/record.json")}
        found |= {LAB for _ in namespaces(LAB)}
        groups = [
            *Path("/sys/fs/cgroup").glob("*/transship/*/"),
            *Path("/sys/fs/cgroup").glob("transship/*/"),
        ]
        return found | {path.name for path in groups if path.name == LAB or path.name.startswith("o-run-")}

    def has_only(self, client: Client) -> None:
        """Nothing is left of the labs that the server before had."""
        assert self.labs() <= {lab.name for lab in client.labs()}


@pytest.fixture
def place() -> Iterator[Place]:
    directory = Path(tempfile.mkdtemp(prefix="ts-", dir="/tmp"))
    place = Place(directory)
    yield place
    wait_until(lambda: not place.labs(), "the last labs to go")
    wait_until(
        lambda: [path.name for path in place.run_root.iterdir()] == ["machine.lock"], "the agent to end"
    )
    shutil.rmtree(directory)


def namespaces(lab: str) -> list[str]:
    return [path.name for path in Path("/run/netns").glob(f"transship-{lab}-*")]


def asked_to_deploy(client: Client) -> None:
    client.create_lab(LAB, TOPOLOGY)


def deploying(client: Client) -> None:
    client.create_lab(LAB, TOPOLOGY)
    wait_until(lambda: namespaces(LAB), "the lab to begin")


def in_use(client: Client) -> None:
    client.deploy(LAB, TOPOLOGY)
    client.start_workload(LAB, "w1", "sink", "shipping")
    client.set_hogs(LAB, "w2", 1)


def without_its_agent(client: Client) -> None:
    in_use(client)
    agent = client.machines()[0].pid
    assert agent is not None
    os.kill(agent, signal.SIGKILL)


def changing(client: Client) -> None:
    client.deploy(LAB, "chain,10")
    client.apply(LAB, TOPOLOGY)
    wait_until(lambda: len(namespaces(LAB)) > 11, "the lab to change")


def asked_to_destroy(client: Client) -> None:
    client.deploy(LAB, TOPOLOGY)
    client.destroy_lab(LAB)


def destroying(client: Client) -> None:
    asked_to_destroy(client)
    wait_until(lambda: len(namespaces(LAB)) < WHOLE, "the lab to go")


def test_a_lab_is_cleaned_at_whatever_step_its_server_is_killed(place: Place) -> None:
    steps = (asked_to_deploy, deploying, in_use, without_its_agent, changing, asked_to_destroy, destroying)
    for step in steps:
        with place.server() as client:
            place.has_only(client)
            assert client.labs() == []
            step(client)
    with place.server() as client:
        place.has_only(client)
        client.deploy(LAB, "chain,2")  # the name is free


def heard(client: Client, run: str, meant: Callable[[Event], bool]) -> None:
    """Returns when an event of a run is the one that is meant."""
    for event in client.events(run):
        if meant(event):
            return
    raise AssertionError("the events ended")


def progress(phase: str, done: int = 0) -> Callable[[Event], bool]:
    return lambda event: (
        event.kind == "progress" and event.data["phase"] == phase and event.data["done"] >= done
    )


def test_a_run_goes_on_at_whatever_step_its_server_is_killed(place: Place) -> None:
    def gone_on(client: Client, message: str) -> RunView:
        place.has_only(client)
        wait_until(lambda: client.run(run).state != "queued", "the run")
        assert message in client.run(run).message
        return client.run(run)

    with place.server() as client:
        run = client.create_run(EXPERIMENT).id
        heard(client, run, lambda event: event.kind == "lab")
    with place.server() as client:
        gone_on(client, "1 of at most 3")
        heard(client, run, progress("trials", 2))
        before = client.trials(run)
        assert len(before) >= 2
    with place.server() as client:
        gone_on(client, "2 of at most 3")
        heard(client, run, progress("result"))
        done = client.trials(run)
        assert done[: len(before)] == before and len(done) >= 4
    with place.server() as client:
        assert gone_on(client, "3 times").state == "interrupted"
        assert client.labs() == []
        client.resume_run(run)
        heard(client, run, lambda event: event.kind == "lab" and event.data["state"] == "destroying")
    with place.server() as client:
        gone_on(client, "1 of at most 3")
        assert client.wait(run).verdict in ("measured", "invalid")
        assert client.trials(run) == done
        assert client.labs() == [] and not place.labs()
