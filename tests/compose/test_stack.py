"""docker compose up, as it is shipped: image, services, labs, a run, its series; nothing left at the end."""

import json
import os
import socket
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.compose import images
from tests.compose.engine import Engine, engine_in, groups_below, require_programs
from tests.support import PATIENCE_S, children, wait_until

pytestmark = pytest.mark.root

API = "http://127.0.0.1:8351/api/v1"
SETTINGS = {"BASE_IMAGE": images.BASE, "TRANSSHIP_VERSION": "test", "TOPOLOGY": "two-fddi"}
RUN = {
    "name": "compose",
    "topology": "two-fddi",
    "workloads": {
        "from": {"workload": "source", "host": "source", "to": "relay", "rate": 10, "size": 4300},
        "relay": {"workload": "forwarder", "host": "middle", "to": "into", "system": "shipping"},
        "into": {"workload": "sink", "host": "sink"},
    },
    "plan": {"trials": 1, "warmup": 0.2, "duration": 0.5},
}


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    require_programs("debootstrap", "prometheus", "promtool")
    # A Unix socket's path must be short.
    with engine_in(Path(tempfile.mkdtemp(prefix="transship-"))) as engine:
        yield engine


@pytest.fixture(scope="module")
def base(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """The engine with the images that others are made of."""
    images.base(engine, tmp_path_factory.mktemp("base"))
    images.prometheus(engine, tmp_path_factory.mktemp("prometheus"))
    return engine


@pytest.fixture(scope="module")
def built(base: Engine) -> Engine:
    """The engine with our image, of the shipped Dockerfile."""
    base.compose("build", "--quiet", settings=SETTINGS)
    return base


@pytest.fixture(scope="class")
def stack(built: Engine) -> Iterator[Engine]:
    """All services but Grafana, up and healthy; down at the end of the class."""
    try:
        built.compose("up", "--detach", "--wait", "--no-build", settings=SETTINGS, check=False)
        states = built.compose("ps", "--all", "--format", "{{.Service}} {{.Status}}", settings=SETTINGS)
        if states.count(" Up ") < 3 or "unhealthy" in states:
            logs = built.compose("logs", settings=SETTINGS)[-6000:]
            pytest.fail(f"not all services are up:\n{states}\n{logs}", pytrace=False)
        yield built
    finally:
        built.compose("down", settings=SETTINGS)


def send(engine: Engine, method: str, path: str, body: Any = None) -> Any:
    """The JSON of an answer, asked for at the published port; of each line if there are several."""

    def ask() -> str:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{API}{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return str(answer.read().decode())

    said = engine.inside(ask)
    return [json.loads(line) for line in said.splitlines()] if path.endswith("/trials") else json.loads(said)


def series(engine: Engine, query: str) -> list[str]:
    """What Prometheus answers to a query, a line for each series."""
    command = ["promtool", "query", "instant", "http://127.0.0.1:9090", query]
    return engine.compose("exec", "-T", "prometheus", *command).strip().splitlines()


# Fixtures that take long are made in tests of their own, which have their own limit of time.


def test_the_images_that_others_are_made_of_can_be_had(base: Engine) -> None:
    assert images.BASE in base.docker("images", "--format", "{{.Repository}}")


def test_the_image_is_built_of_the_shipped_dockerfile(built: Engine) -> None:
    made = json.loads(built.docker("image", "inspect", "transship:test"))[0]["Config"]
    assert made["Entrypoint"] == ["/opt/transship/orchestrator/container/entry"]


class TestUp:
    def test_the_lab_that_was_asked_for_is_there(self, stack: Engine) -> None:
        labs = send(stack, "GET", "/labs")["labs"]
        assert [(lab["name"], lab["state"]) for lab in labs] == [("two-fddi", "ready")]

    def test_a_run_is_in_prometheus_and_a_lab_that_is_destroyed_no_more(self, stack: Engine) -> None:
        send(stack, "POST", "/labs", {"name": "watched", "topology": "two-fddi"})
        wait_until(lambda: send(stack, "GET", "/labs/watched")["state"] == "ready", "the lab to be ready")
        run = send(stack, "POST", "/runs", {"experiment": RUN, "lab": "watched"})["id"]
        ended = ("done", "invalid", "failed", "cancelled")
        wait_until(
            lambda: send(stack, "GET", f"/runs/{run}")["state"] in ended, "the run to end", 2 * PATIENCE_S
        )
        trials = send(stack, "GET", f"/runs/{run}/trials")
        assert trials, send(stack, "GET", f"/runs/{run}")["message"]
        assert [trial["books"]["difference"] for trial in trials] == [0] * len(trials)
        assert "AF_XDP" in json.dumps(trials), "host agents may load the XDP program"
        arrived = 'transship_datagrams_total{lab="watched",host="sink",direction="in"} > 0'
        wait_until(lambda: series(stack, arrived), "what arrived at the sink to be in Prometheus")
        send(stack, "DELETE", "/labs/watched")
        wait_until(lambda: not series(stack, arrived), "the series to end with their lab")

    def test_a_verb_in_a_container_of_its_own_is_a_client_of_what_is_up(self, stack: Engine) -> None:
        shown = stack.compose("run", "--rm", "-T", "transship", "inspect", "--format=json", settings=SETTINGS)
        assert '"two-fddi"' in shown


def test_after_it_is_down_nothing_is_left_but_the_results(built: Engine) -> None:
    listed = built.compose("run", "--rm", "-T", "transship", "results", "--format=json", settings=SETTINGS)
    assert str(RUN["name"]) in listed, "a verb finds them by itself"
    built.compose("down", settings=SETTINGS)
    assert built.docker("ps", "--all", "--quiet") == ""
    assert built.docker("network", "ls", "--filter", "name=transship", "--quiet") == ""
    links = built.inside(lambda: sorted(name for _, name in socket.if_nameindex()))
    assert links == ["docker0", "lo"]
    assert not [group for group in groups_below(built.group) if "two-fddi" in group.parts]
    own = os.readlink(f"/proc/{built.pid}/ns/net")
    wait_until(lambda: set(networks(built.pid)) == {own}, "the last process in another network to be gone")


def networks(pid: int) -> Iterator[str]:
    """The network namespaces of a process and all below it."""
    with suppress(OSError):  # it has ended meanwhile
        yield os.readlink(f"/proc/{pid}/ns/net")
    for child in children(pid):
        yield from networks(child)
