"""`bench page`: the built-in page in a real browser, with a lab of 200 hosts whose networks all carry another
rate in each sample: how soon it is there, and which frames it makes the browser miss.

Beside it a page of the same server that does nothing, because a busy machine misses frames by itself. They
alternate, each in a fresh context of one browser.
"""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from benchmarks._plan import Plan, Report, planned, told
from benchmarks._rows import SEED, row
from benchmarks.page.frames import COUNT_FRAMES, Frames
from benchmarks.page.traffic import moving
from orchestrator.cli.private import private_server
from orchestrator.client import Client
from orchestrator.state import state_directory
from topologies import resolve

LAB = "bench-page"
PAGES = {"page": f"/#lab/{LAB}", "empty": "/docs"}
FULL: Plan = (5, [200], 20.0)
QUICK: Plan = (1, [50], 4.0)
WINDOW = (1280, 800)
TRACED = ["devtools.timeline", "devtools.timeline.frame", "blink.user_timing", "loading"]
PAINT = "() => performance.getEntriesByName('first-contentful-paint')[0].startTime"
DRAWN_S = 60.0
"""Seconds allowed to the first sample to be on the map."""
UNITS = {"first paint": "s", "map drawn": "s", "frames missed": "%", "longest frame": "ms"}

Found = dict[tuple[str, str, int], dict[int, float]]
"""By measure, page and hosts: what each trial found, by its number."""


def main(options: dict[str, Any], report: Report) -> dict[str, Any]:
    """Run the benchmark as the command line asks for it: `quick`, `trials`."""
    return run(*planned(options, FULL, QUICK), report)


def run(trials: int, sizes: Sequence[int], seconds: float, report: Report) -> dict[str, Any]:
    """Measure every size and return the result in the shape of `reproduce --format json`.

    Raises:
        PermissionError: not root.
        FileNotFoundError: there is no chromium.
        ClientError, Failure: the orchestrator does not do what it should.
    """
    if os.geteuid() != 0:
        raise PermissionError("bench page needs root: it makes network namespaces")
    program = shutil.which("chromium")
    if program is None:
        raise FileNotFoundError("bench page needs a browser: apt-get install chromium")
    kept = state_directory() / "benchmarks" / f"page-{time.strftime('%Y%m%d-%H%M%S')}"
    kept.mkdir(parents=True)
    found: Found = defaultdict(dict)
    plan = [(size, number, page) for size in sizes for number in range(trials) for page in PAGES]
    with _browser(program) as browser:
        version = browser.version
        for size, batch in ((size, [one for one in plan if one[0] == size]) for size in sizes):
            with _lab(size) as (address, client), moving(client, LAB):
                for _, number, page in told(batch, "page", lambda one: f"{one[2]}, {one[0]} hosts", report):
                    _trial(browser, address, page, (size, number), seconds, kept, found)
    return {
        "benchmark": "page",
        "environment": {
            "kernel": platform.release(),
            "cpus": len(os.sched_getaffinity(0)),
            "chromium": version,
            "seed": SEED,
            "notes": [
                f"{WINDOW[0]} x {WINDOW[1]} pixels, headless, two samples a second; "
                f"frames counted for {seconds:g} s",
                f"traces of the browser, to be opened in its developer tools, and pictures: {kept}",
            ],
        },
        "rows": [
            row(page, {"measure": measure, "hosts": size}, UNITS[measure], found[measure, page, size], trials)
            for size in sizes
            for measure in UNITS
            for page in PAGES
            if found[measure, page, size]
        ],
        "ratios": [],
        "figure": str(kept / f"page-{sizes[-1]}.png"),
    }


@contextmanager
def _browser(program: str) -> Iterator[Browser]:
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=program, args=["--no-sandbox"]) as browser,
    ):
        yield browser


@contextmanager
def _lab(hosts: int) -> Iterator[tuple[str, Client]]:
    """An orchestrator for this alone, with Mininet's `linear,N` in it."""
    state = Path(tempfile.mkdtemp(prefix="transship-bench-"))
    try:
        with private_server(state, "127.0.0.1:0") as private:
            client = Client(private.server.address)
            client.deploy(LAB, resolve(f"linear,{hosts},bw=10").model_dump(mode="json"))
            yield private.server.address, client
    finally:
        shutil.rmtree(state)


def _trial(
    browser: Browser,
    address: str,
    name: str,
    cell: tuple[int, int],
    seconds: float,
    kept: Path,
    found: Found,
) -> None:
    """Opens one page afresh, and counts its frames."""
    size, number = cell
    context = browser.new_context(viewport={"width": WINDOW[0], "height": WINDOW[1]})
    try:
        page = context.new_page()
        page.set_default_timeout(DRAWN_S * 1000)
        browser.start_tracing(
            page=page, path=kept / f"{name}-{size}-{number + 1}.trace.json", categories=TRACED
        )
        began = time.monotonic()
        page.goto(f"{address}{PAGES[name]}")
        if name == "page":
            page.locator("#map [data-node]").first.wait_for()
            found["map drawn", name, size][number] = time.monotonic() - began
        frames = Frames(page.evaluate(COUNT_FRAMES, seconds * 1000))
        found["first paint", name, size][number] = page.evaluate(PAINT) / 1000
        found["frames missed", name, size][number] = 100 * frames.missed
        found["longest frame", name, size][number] = frames.longest_ms
        browser.stop_tracing()
        page.screenshot(path=kept / f"{name}-{size}.png")
    finally:
        context.close()
