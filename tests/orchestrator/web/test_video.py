"""Videos on the page, with a real lab: started, watched side by side and stopped, by keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.orchestrator.test_real_exploring import LAB, lab
from tests.orchestrator.test_real_labs import Orchestrator
from tests.orchestrator.web.conftest import Watched, watched
from tests.support import wait_until

__all__ = ["lab"]  # the fixture

pytestmark = pytest.mark.root
SHADES = """canvas => {
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  return new Set(data).size;
}"""
HOSTS = {"linux": "source", "shipping": "middle"}


@pytest.fixture
def seen(lab: Orchestrator, browser: Browser) -> Iterator[Watched]:
    """The page with its panel for videos open."""
    found = watched(browser, lab.address, path=f"/#lab/{LAB}")
    found.page.locator("#video > summary").click()
    yield found
    found.close()


def running(lab: Orchestrator, host: str) -> list[tuple[str, str]]:
    """What works on a host, but for its manager."""
    found = lab.send("GET", f"/api/v1/labs/{LAB}/hosts/{host}/workloads?over_s=0")["workloads"]
    states = [(one["workload"], one["system"]) for one in found if one["state"] == "running"]
    return [one for one in states if one[0] != "manager"]


def start(page: Page) -> Locator:
    return page.get_by_role("button", name="Start side by side")


def called(page: Page, number: int) -> str:
    """A call that the page has made: 0 is the last one."""
    return page.locator("#call-list code").nth(number).text_content() or ""


def test_videos_are_started_watched_and_stopped(seen: Watched, lab: Orchestrator, artefacts: Path) -> None:
    page = seen.page
    page.get_by_label("Frames").select_option("320x240")
    page.get_by_label("Relays").select_option("1")
    start(page).focus()
    page.keyboard.press("Enter")
    expect(page.locator("figure[data-frame]")).to_have_count(2)
    for system, host in HOSTS.items():
        assert running(lab, host) == [(workload, system) for workload in ("display", "relay", "server")]
        figure = page.locator(f"figure[data-system={system}]")
        moves_on(figure)
        assert figure.locator("canvas").evaluate(SHADES) > 20  # of the ground, the bar and the digits
        expect(figure).to_contain_text("frames/s")
        expect(figure).to_contain_text(f"{host}: ")
        expect(figure.get_by_role("img", name=f"Frame buffer of the {system} display")).to_be_visible()
    page.locator("#video").screenshot(path=artefacts / "video.png")
    hold = page.get_by_role("button", name="Hold the pictures")
    hold.click()
    expect(hold).to_have_attribute("aria-pressed", "true")
    hold.click()
    for system in HOSTS:
        moves_on(page.locator(f"figure[data-system={system}]"))
    stop = page.locator("#video").get_by_role("button", name="Stop", exact=True)
    stop.focus()
    page.keyboard.press("Enter")
    expect(page.locator("figure[data-frame]")).to_have_count(0)
    wait_until(lambda: not any(running(lab, host) for host in HOSTS.values()), "all of it to end")
    expect(start(page)).to_be_focused()
    expect(page.locator("#call-count")).to_have_text("8")
    for number in (0, 1):
        assert called(page, number).startswith("DELETE ") and "/workloads/server-" in called(page, number)


def moves_on(figure: Locator) -> None:
    """Waits for later frames."""
    before = int(figure.get_attribute("data-frame") or 0)
    wait_until(lambda: int(figure.get_attribute("data-frame") or 0) > before + 5, "the picture to move")


def test_what_cannot_be_started_is_said_and_nothing_is_left(seen: Watched, lab: Orchestrator) -> None:
    page = seen.page
    path = f"/api/v1/labs/{LAB}/hosts/middle/workloads"
    params = {"channel": "other", "framebuffer": "video"}
    other = lab.send("POST", path, {"workload": "display", "system": "shipping", "params": params})
    expect(page.locator("#video figure[data-system=shipping]")).to_have_count(1)
    start(page).click()
    expect(page.locator("#video").get_by_role("status")).to_have_text(
        "display did not start: display over shipping: Device or resource busy"
    )
    expect(page.locator("#call-count")).to_have_text("4")
    assert called(page, 0).startswith("DELETE ") and '"workload":"display"' in called(page, 1)
    wait_until(lambda: not running(lab, "source"), "what was begun to be gone")
    assert running(lab, "middle") == [("display", "shipping")]
    expect(start(page)).to_have_attribute("aria-disabled", "false")
    lab.send("DELETE", f"{path}/{other['id']}")
    refused = [fault for fault in seen.faults if "status of 422" in fault]
    assert len(refused) == 1  # the browser's own word for it
    seen.faults.remove(refused[0])
