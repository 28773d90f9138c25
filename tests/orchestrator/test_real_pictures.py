"""What displays of a real lab show, over REST and on the command line, conventional or not."""

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.agents.shipping.moving import moving, number_in, same
from tests.agents.shipping.test_python_framebuffer import read_png
from tests.orchestrator.test_real_exploring import LAB, cli, lab
from tests.orchestrator.test_real_labs import Orchestrator
from tests.support import PATIENCE_S, wait_until

__all__ = ["lab"]  # the fixture

pytestmark = pytest.mark.root
WORKLOADS = f"/api/v1/labs/{LAB}/hosts/middle/workloads"
WIDTH, HEIGHT = 640, 480
FRAME = {"width": WIDTH, "height": HEIGHT, "bits": 8}


@contextmanager
def video(lab: Orchestrator, system: str, **display: Any) -> Iterator[list[str]]:
    """A display, a relay and a server of moving pictures: their ids."""
    channels = [f"{system}-{hop}" for hop in range(2)]
    relay = {"channel": channels[0], "out_channel": channels[1], "operation_bytes": WIDTH * HEIGHT}
    ids = []
    for workload, params in (
        ("display", {**FRAME, "channel": channels[1], **display}),
        ("relay", relay),
        ("server", {**FRAME, "channel": channels[0], "picture": "moving", "fps": 50}),
    ):
        asked = {"workload": workload, "system": system, "params": params}
        view = lab.send("POST", WORKLOADS, asked)
        assert view["state"] == "running", view
        ids.append(view["id"])
    yield ids
    for one in reversed(ids):
        assert lab.send("DELETE", f"{WORKLOADS}/{one}")["state"] == "done"


def look(lab: Orchestrator, display: str, query: str = "") -> tuple[int, bytes]:
    """The number of the frame that is shown, and the PNG."""
    with urllib.request.urlopen(
        f"{lab.address}{WORKLOADS}/{display}/picture{query}", timeout=PATIENCE_S
    ) as answer:
        assert answer.headers["Content-Type"] == "image/png"
        assert answer.headers["Cache-Control"] == "no-store"
        return int(answer.headers["Transship-Frame"]), answer.read()


def pixels(image: bytes, directory: Path) -> bytes:
    (directory / "frame.png").write_bytes(image)
    return read_png(directory / "frame.png", 8)


@pytest.mark.parametrize(
    ("system", "options"),
    [("linux", {}), ("shipping", {"framebuffer": "left"}), ("shipping", {"dma": True}), ("copy", {})],
)
def test_a_picture_shows_the_frame_that_the_server_drew_last(
    lab: Orchestrator, system: str, options: dict[str, Any], tmp_path: Path
) -> None:
    with video(lab, system, **options) as (display, relay, server):
        wait_until(lambda: shown(lab, display) > 2, "frames to be shown")
        seen: dict[int, int] = {}
        while len(seen) < 3:
            number, image = look(lab, display)
            drawn = pixels(image, tmp_path)
            assert same(drawn, moving(number_in(drawn), WIDTH, HEIGHT))
            seen[number] = number_in(drawn)
        assert sorted(seen.values()) == [seen[number] for number in sorted(seen)]
        small = pixels(look(lab, display, "?width=320")[1], tmp_path)
        assert len(small) == 320 * 240
        candidates = range(small[0], 20_000, 256)  # of the number, every second byte is left
        assert any(
            moving(number, WIDTH, HEIGHT)[::2, ::2].tobytes()[8:] == small[8:] for number in candidates
        )
        for one in (relay, server):
            problem = lab.send("GET", f"{WORKLOADS}/{one}/picture")
            assert (problem["status"], problem["field"]) == (409, "workload"), problem
        file = tmp_path / "cli.png"
        assert cli(lab, "picture", LAB, "middle", display, "--width", "100", "-o", str(file)).returncode == 0
        assert len(read_png(file, 8)) == 92 * 69
        wait_until(
            lambda: lab.send("GET", f"{WORKLOADS}/{display}")["operations_in_per_s"] > 0,
            "its frames to count",
        )
    ended = lab.send("GET", f"{WORKLOADS}/{display}/picture")
    assert (ended["status"], ended["detail"]) == (409, f"{display} has ended, and shows nothing any more")


def shown(lab: Orchestrator, display: str) -> int:
    counters = lab.send("GET", f"{WORKLOADS}/{display}?over_s=0")["counters"]
    return int(counters.get("operations_in", 0))


def test_what_is_not_there_has_no_picture(lab: Orchestrator) -> None:
    for host in ("middle", "sink"):
        problem = lab.send("GET", f"/api/v1/labs/{LAB}/hosts/{host}/workloads/display-0-1/picture")
        assert (problem["status"], problem["field"]) == (404, "workload")
    asked = {"workload": "display", "system": "linux", "params": {**FRAME, "channel": "lonely"}}
    display = lab.send("POST", WORKLOADS, asked)["id"]
    problem = lab.send("GET", f"{WORKLOADS}/{display}/picture")
    assert problem["status"] == 409 and "has not shown a whole frame yet" in problem["detail"]
    lab.send("DELETE", f"{WORKLOADS}/{display}")
