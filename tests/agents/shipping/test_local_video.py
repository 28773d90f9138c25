"""A video server, relays and a display on one host, for each I/O system."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from agents.shipping import Attachment
from agents.shipping.framebuffer import Geometry, View, view_of_process
from agents.workload_params import local_systems
from tests.agents.shipping.api_host import Host
from tests.agents.shipping.moving import moving, number_in, same
from tests.agents.shipping.test_local_workloads import Start, names, result, start
from tests.agents.shipping.test_systems import Workload
from tests.support import wait_until

__all__ = ["start"]  # the fixture

pytestmark = pytest.mark.root

FRAME = {"width": 320, "height": 200, "bits": 8}
BYTES = 320 * 200


@pytest.mark.parametrize("dma", [False, True])
@pytest.mark.parametrize("relays", [0, 2])
@pytest.mark.parametrize("system", local_systems())
def test_frames_reach_the_screen_as_they_were_sent(
    served: Host, start: Start, system: str, relays: int, dma: bool
) -> None:
    manager = served[1]
    drawn = manager.counters().get("framebuffer_frames", 0)
    hops = [next(names) for _ in range(relays + 1)]
    common = {**FRAME, "total_bytes": 300 * BYTES, "warmup_bytes": 10 * BYTES}
    display = start("display", system, channel=hops[-1], verify=True, dma=dma, **common)
    for channel, out in reversed(list(itertools.pairwise(hops))):
        start("relay", system, channel=channel, out_channel=out, operation_bytes=BYTES)
    sent = result(start("server", system, channel=hops[0], **common))
    shown = result(display)
    assert (sent["frames"], sent["frames_measured"], sent["skipped"]) == (310, 300, 0)
    assert (shown["frames"], shown["frames_measured"], shown["ended"]) == (310, 299, True)
    assert (shown["mismatches"], shown["dropped"], shown["late"]) == (0, 0, 0)
    assert shown["fps"] == pytest.approx(shown["mbytes_per_s"] * 1e6 / BYTES)
    if system != "linux":  # whose screen is the display's own
        wait_until(lambda: manager.counters()["framebuffer_frames"] == drawn + 310, "all to be drawn")


def image() -> bytes:
    """What the server shows (workloads/access.c), between number and mark at the beginning and mark at the
    end."""
    at = np.arange(16, BYTES - 8, 8, dtype=np.uint64)
    return (np.uint64(0x9E3779B97F4A7C15) ^ at * np.uint64(0xBF58476D1CE4E5B9)).tobytes()


def view_of(host: Attachment, system: str, display: Workload) -> View:
    return view_of_process(display.process.pid) if system == "linux" else host.view_framebuffer("screen0")


@pytest.mark.parametrize("dma", [False, True])
@pytest.mark.parametrize("system", local_systems())
def test_who_looks_at_the_screen_sees_what_the_server_sends(
    host: Attachment, start: Start, system: str, dma: bool
) -> None:
    common = {**FRAME, "channel": next(names), "fps": 200, "duration_s": 30}
    display = start("display", system, dma=dma, **common)
    server = start("server", system, **common)
    wait_until(lambda: display.counters().get("operations_in", 0) > 5, "frames to be shown")
    with view_of(host, system, display) as view:
        frame = view.frame()
    assert frame is not None
    assert frame.geometry == Geometry(**FRAME, dma=dma)
    assert frame.pixels[16:-8] == image()
    server.stop()
    assert result(display)["ended"]


@pytest.mark.parametrize(
    ("width", "height", "bits"), [(1264, 960, 8), (320, 200, 24), (640, 64, 32), (8, 8, 8)]
)
@pytest.mark.parametrize("system", local_systems())
def test_a_moving_picture_is_drawn_anew_in_memory_that_held_another_frame(
    host: Attachment, start: Start, system: str, width: int, height: int, bits: int
) -> None:
    common = {"width": width, "height": height, "bits": bits, "channel": next(names)}
    display = start("display", system, **common)
    server = start("server", system, picture="moving", **common)  # until it is stopped
    seen: set[int] = set()
    wait_until(lambda: display.counters().get("operations_in", 0) > 100, "all memory to be used again")
    with view_of(host, system, display) as view:
        while len(seen) < 20:
            frame = view.frame()
            assert frame is not None
            number = number_in(frame.pixels)
            assert same(frame.pixels, moving(number, width, height, bits // 8)), number
            seen.add(number)
    sent = server.stop()
    assert sent["frames"] > max(seen) and sent["skipped"] == 0
    assert result(display)["ended"]


def test_a_long_chain_goes_on_in_a_pool_that_holds_few_frames(start: Start) -> None:
    frame = {"width": 1264, "height": 960}  # 13 of them are all of the pool
    hops = [next(names) for _ in range(5)]
    common = {**frame, "total_bytes": 300 * 1264 * 960}
    display = start("display", "shipping", channel=hops[-1], **common)
    for channel, out in reversed(list(itertools.pairwise(hops))):
        start("relay", "shipping", channel=channel, out_channel=out, operation_bytes=1264 * 960)
    assert result(start("server", "shipping", channel=hops[0], **common))["frames"] == 300
    assert result(display)["frames"] == 300


@pytest.mark.parametrize("system", local_systems())
def test_a_paced_server_skips_what_a_slow_bus_cannot_show(start: Start, system: str) -> None:
    for duration_s in (0.5, 5, 20):  # a longer one if the machine had no time for two frames in the shorter
        common = {
            **FRAME,
            "channel": next(names),
            "fps": 400,
            "duration_s": duration_s,
            "queue_operations": 1,
        }
        display = start("display", system, **common, bus_mbytes_per_s=BYTES * 100 / 1e6)
        sent, shown = result(start("server", system, **common)), result(display)
        if shown["dropped"]:
            break
    assert sent["skipped"] > 0  # four times as many are due as the bus takes
    assert shown["frames"] == sent["frames"]
    assert 0 < shown["dropped"] <= sent["skipped"]


@pytest.mark.parametrize("system", local_systems())
def test_frames_at_a_rate_that_is_reached_are_all_there(start: Start, system: str) -> None:
    common = {**FRAME, "channel": next(names), "fps": 50, "total_bytes": 10 * BYTES}
    display = start("display", system, **common)
    sent, shown = result(start("server", system, **common)), result(display)
    assert shown["frames"] == sent["frames"] == 10
    assert shown["dropped"] <= sent["skipped"]
    assert sent["t1_ns"] - sent["t0_ns"] >= 9 * 20_000_000
