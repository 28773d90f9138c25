"""The page's module for pictures, in a browser, with a real lab: videos started, watched and stopped."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.orchestrator.processes import HERE, REPOSITORY
from tests.orchestrator.test_real_exploring import LAB, lab
from tests.orchestrator.test_real_labs import Orchestrator
from tests.support import PATIENCE_S, wait_until

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
CHROMIUM = shutil.which("chromium")

__all__ = ["lab"]  # the fixture

pytestmark = [pytest.mark.root, pytest.mark.skipif(CHROMIUM is None, reason="needs the program chromium")]
FILES = {
    "video.html": (HERE / "video.html", "text/html"),
    "video.js": (REPOSITORY / "orchestrator/web/static/video.js", "text/javascript"),
}
SHADES = """canvas => {
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  return new Set(data).size;
}"""
SOON_MS = PATIENCE_S * 1000
HOSTS = {"linux": "source", "shipping": "middle"}


@pytest.fixture
def page(lab: Orchestrator) -> Iterator[Any]:
    """The module on a page of its own, at the server's address; what goes wrong there fails the test."""
    wrong: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1000, "height": 700})
        page.set_default_timeout(SOON_MS)
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))

        def serve(route: Any) -> None:
            path, kind = FILES[route.request.url.rpartition("/")[2]]
            route.fulfill(path=path, content_type=kind)

        page.route("**/video-test/*", serve)
        page.goto(f"{lab.address}/video-test/video.html")
        page.evaluate("lab => show(lab)", LAB)
        yield page
        browser.close()
    assert [words for words in wrong if "status of 422" not in words] == []  # a browser tells of each refusal


def running(lab: Orchestrator, host: str) -> list[tuple[str, str]]:
    """What works on a host."""
    found = lab.send("GET", f"/api/v1/labs/{LAB}/hosts/{host}/workloads?over_s=0")["workloads"]
    return [(one["workload"], one["system"]) for one in found if one["state"] == "running"]


def frame(page: Any, system: str) -> int:
    """The number of the frame that is shown."""
    return int(page.locator(f"figure[data-system={system}]").get_attribute("data-frame"))


def moves_on(page: Any, system: str, number: int) -> None:
    """Waits for later frames."""
    wait_until(lambda: frame(page, system) > number + 5, f"the picture of {system} to move")


def test_videos_are_started_watched_and_stopped_by_keyboard(
    page: Any, lab: Orchestrator, tmp_path: Path
) -> None:
    page.get_by_label("Frames").select_option("320x240")
    page.get_by_label("Relays").select_option("1")
    button = page.get_by_role("button", name="Start side by side")
    button.focus()
    page.keyboard.press("Enter")
    sync_api.expect(page.locator("figure[data-frame]")).to_have_count(2, timeout=SOON_MS)
    for system, host in HOSTS.items():
        chain = [(workload, system) for workload in ("display", "relay", "server")]
        assert [one for one in running(lab, host) if one[0] != "manager"] == chain
        figure = page.locator(f"figure[data-system={system}]")
        before = frame(page, system)
        moves_on(page, system, before)
        assert host in figure.inner_text() and "frames/s" in figure.inner_text()
        assert (
            figure.get_by_role("img").get_attribute("aria-label").startswith(f"Frame buffer of the {system}")
        )
        shades = figure.locator("canvas").evaluate(SHADES)
        assert shades > 20  # of the ground, the bar and the digits
    page.screenshot(path=tmp_path / "video.png")
    stop = page.get_by_role("button", name="Stop")
    assert stop.evaluate("button => button === document.activeElement")
    page.keyboard.press("Enter")
    sync_api.expect(page.locator("figure")).to_have_count(0, timeout=SOON_MS)
    wait_until(lambda: not any(running(lab, host) for host in HOSTS.values()), "all of it to end")
    acts = page.evaluate("acts")
    assert [one["method"] for one in acts] == ["POST"] * 6 + ["DELETE"] * 2
    assert all("/workloads/server-" in one["path"] for one in acts[6:])


def test_what_cannot_be_started_is_said_and_nothing_is_left(page: Any, lab: Orchestrator) -> None:
    path = f"/api/v1/labs/{LAB}/hosts/middle/workloads"
    params = {"channel": "other", "framebuffer": "video"}
    other = lab.send("POST", path, {"workload": "display", "system": "shipping", "params": params})
    sync_api.expect(page.locator("figure")).to_have_count(1, timeout=SOON_MS)
    button = page.get_by_role("button", name="Start side by side")
    button.click()
    page.get_by_text("display over shipping: Device or resource busy").wait_for()
    assert [(one["method"], one["body"] and one["body"]["workload"]) for one in page.evaluate("acts")] == [
        ("POST", "display"),
        ("POST", "server"),
        ("POST", "display"),
        ("DELETE", None),
    ]
    wait_until(lambda: not running(lab, "source"), "what was begun to be gone")
    assert ("display", "shipping") in running(lab, "middle")
    assert button.get_attribute("aria-disabled") == "false"
    page.evaluate("hide()")
    assert page.locator("#place").inner_html() == ""
    lab.send("DELETE", f"{path}/{other['id']}")
