"""The page on a real server with a real lab: deployed from it, watched, changed, found after a restart."""

import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.orchestrator.processes import ENVIRONMENT, started, until_ended
from tests.orchestrator.test_real_labs import SERVER, Orchestrator
from tests.orchestrator.web.conftest import PHONE, Watched, watched
from tests.support import PATIENCE_S, wait_until

pytestmark = pytest.mark.root
LAB = "p-page"
SHORT = {
    "name": "short",
    "topology": "two-fddi",
    "workloads": {
        "from": {"workload": "source", "host": "source", "to": "relay", "rate": 20, "size": 4300},
        "relay": {"workload": "forwarder", "host": "middle", "to": "into"},
        "into": {"workload": "sink", "host": "sink"},
    },
    "factors": {"system": ["linux"]},
    "plan": {"trials": 1, "warmup": 0.1, "duration": 0.5},
}


class Site:
    """A server that can be started again at the same address."""

    def __init__(self, stack: ExitStack, environment: dict[str, str]) -> None:
        self._stack, self._environment = stack, environment
        self.server = self._start("127.0.0.1:0")

    def _start(self, listen: str) -> Orchestrator:
        command = (*SERVER[:-1], listen)
        process = self._stack.enter_context(started(*command, environment=self._environment))
        return Orchestrator(process, self._environment)

    def stop(self) -> None:
        self.server.process.send_signal(signal.SIGTERM)
        assert until_ended(self.server.process) == 0

    def start_again(self) -> None:
        self.server = self._start(urlsplit(self.server.address).netloc)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    directory = Path(tempfile.mkdtemp(prefix="ts-", dir="/tmp"))
    environment = {"TRANSSHIP_STATE": str(directory / "state"), "TRANSSHIP_RUN": str(directory / "run")}
    with ExitStack() as stack:
        site = Site(stack, environment)
        yield site
        site.stop()
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def seen(site: Site, browser: Browser) -> Iterator[Watched]:
    """The page that most tests share, as somebody would keep it open."""
    found = watched(browser, site.server.address)
    yield found
    found.close()


def number(place: Locator) -> float:
    """What a place shows; -1 where it is no number."""
    text = place.text_content() or ""
    return float(text.replace(" ", "")) if re.fullmatch(r"[\d .]+", text) else -1


def shown(page: Page, chart: str, series: str) -> Locator:
    """The newest value of a line of a chart, as its legend has it."""
    entry = page.locator(f"#chart-{chart} .legend button").filter(has_text=re.compile(f"^{series} "))
    return entry.locator(".num")


def until_between(place: Locator, least: float, most: float) -> None:
    wait_until(lambda: place.count() and least <= number(place) <= most, f"{place} in {least} to {most}")


def last_call(page: Page) -> str:
    return " ".join((page.locator("#last-call").text_content() or "").split())


def test_a_topology_is_deployed_from_the_page_and_its_numbers_move(seen: Watched, artefacts: Path) -> None:
    page = seen.page
    page.get_by_text("Deploy a topology", exact=True).click()
    form = page.locator("#deploy-form")
    form.get_by_label("Topology").select_option("two-fddi")
    form.get_by_label("Name").fill(LAB)
    form.get_by_role("button", name="Deploy").click()
    expect(page.locator("#lab-state")).to_have_text("ready")
    assert last_call(page) == f'POST /api/v1/labs {{"name":"{LAB}","topology":"two-fddi"}}'
    page.locator("#demo-system").select_option("linux-batch")
    page.get_by_role("button", name=f"Start in {LAB}").click()
    until_between(shown(page, "throughput", "sink"), 40, 60)
    for network in ("ring-a", "ring-b"):
        until_between(page.locator(f"[data-node='n:{network}'] .big"), 40, 60)
    expect(page.locator("[data-node='h:middle']")).to_contain_text("forwarderlinux-batch")
    page.screenshot(path=artefacts / "lab.png")


def test_the_rate_of_the_source_and_the_size_of_its_datagrams_follow_their_sliders(seen: Watched) -> None:
    page = seen.page
    page.get_by_label("rate, Mb/s, as a number").fill("20")
    page.get_by_label("rate, Mb/s, as a number").press("Enter")
    until_between(shown(page, "throughput", "sink"), 12, 28)
    assert last_call(page).endswith('{"rate_mbps":20}')
    page.get_by_label("size, bytes", exact=True).fill("1000")
    expect(page.locator("#last-call")).to_contain_text('{"size":1000}')
    workload = seen.page.request.get(f"{seen.address}/api/v1/labs/{LAB}/hosts/source/workloads?over_s=0")
    assert workload.json()["workloads"][0]["params"]["size"] == 1000


def test_hogs_take_cpu(seen: Watched) -> None:
    page = seen.page
    page.get_by_label("hogs, ", exact=True).fill("2")
    expect(page.locator("[data-node='h:middle'] .hogs")).to_have_text("2 hogs")
    cpu = re.compile(r"hogs (0\.[1-9]\d*|0\.0[1-9]|[1-9])")
    expect(page.locator("#hogs-used")).to_have_text(cpu)
    page.get_by_label("hogs, ", exact=True).fill("0")
    expect(page.locator("[data-node='h:middle'] .hogs")).to_have_text("")


def test_the_system_of_the_forwarder_is_changed_by_starting_it_again(seen: Watched) -> None:
    page = seen.page
    page.get_by_label("I/O system of the forwarder on middle").select_option("shipping")
    expect(page.locator("[data-node='h:middle']")).to_contain_text("forwardershipping")
    until_between(shown(page, "throughput", "forwarder middle"), 12, 28)
    calls = page.locator("#call-list code")
    assert '"workload":"forwarder","system":"shipping","to":"10.2.0.2:9000"' in (
        calls.nth(0).text_content() or ""
    )
    assert (calls.nth(1).text_content() or "").startswith(
        f"DELETE /api/v1/labs/{LAB}/hosts/middle/workloads/"
    )


def test_a_cut_is_seen_and_healed_by_the_python_that_is_shown(
    seen: Watched, site: Site, artefacts: Path
) -> None:
    page = seen.page
    ring = page.locator("[data-node='n:ring-b']")
    page.get_by_role("button", name="Cut ring-b").click()
    expect(ring).to_contain_text("cut")
    expect(ring.locator(".small.bad")).to_have_text(re.compile(r"\d drops/s"))
    until_between(shown(page, "throughput", "ring-b"), 0, 0)
    page.screenshot(path=artefacts / "cut.png")
    page.get_by_role("button", name="All").click()
    page.locator("#call-list li").first.get_by_text("As code").click()
    curl, python = page.locator("#call-list li").first.locator("pre").all_text_contents()
    assert curl == f"curl -X POST {seen.address}/api/v1/labs/{LAB}/networks/ring-b/cut"
    healing = python.replace("cut_network", "heal_network")
    done = subprocess.run([sys.executable, "-c", healing], env=ENVIRONMENT, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0
    until_between(shown(page, "throughput", "sink"), 12, 28)
    expect(page.get_by_role("button", name="Cut ring-b")).to_be_visible()
    page.get_by_role("button", name="All").click()
    # What was cut off is missing at the sink as soon as something arrives again.
    page.locator("#chart-loss summary").click()
    most = page.locator("#chart-loss tbody td").last
    wait_until(lambda: number(most) > 0, "loss at the sink")
    page.locator("#chart-loss summary").click()
    page.screenshot(path=artefacts / "healed.png")
    page.emulate_media(color_scheme="dark")
    page.screenshot(path=artefacts / "healed-dark.png")
    page.emulate_media(color_scheme="light")


def test_every_thing_on_the_page_is_reached_and_worked_with_the_keyboard(seen: Watched) -> None:
    page = seen.page
    page.locator("#map [tabindex='0']").focus()
    page.keyboard.press("Home")
    focused = page.locator(":focus")
    expect(focused).to_have_attribute("data-node", "h:source")
    expect(focused).to_have_attribute(
        "aria-label", re.compile("^host source, running: source on linux-batch")
    )
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator("[aria-pressed='true'][data-node]")).to_have_attribute("data-node", "n:ring-a")
    assert (
        page.evaluate("getComputedStyle(document.activeElement.querySelector('.shape')).strokeWidth")
        == "10px"
    )
    page.get_by_label("rate, Mb/s", exact=True).focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#last-call")).to_contain_text('{"rate_mbps":21}')
    page.locator("#tab-experiments").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Experiments")).to_be_visible()
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    page.go_back()
    expect(page.get_by_role("region", name="Lab", exact=True)).to_be_visible()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_phone_has_room_for_all_of_it(browser: Browser, site: Site, artefacts: Path, dark: bool) -> None:
    found = watched(browser, site.server.address, PHONE, dark, f"/#lab/{LAB}")
    page = found.page
    until_between(shown(page, "throughput", "sink"), 12, 28)
    for view in ("lab", "experiments"):
        page.locator(f"#tab-{view}").click()
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE[0]
        page.screenshot(path=artefacts / f"phone-{view}-{'dark' if dark else 'light'}.png", full_page=True)
    page.locator("#tab-lab").click()
    page.get_by_role("button", name="Cut ring-a").scroll_into_view_if_needed()
    expect(page.get_by_role("button", name="Cut ring-a")).to_be_in_viewport()
    page.locator("#tables summary").click()
    expect(page.get_by_role("region", name="Hosts").get_by_role("row", name="middle")).to_contain_text(
        "shipping"
    )
    found.close()


def test_an_experiment_is_started_followed_and_its_figure_opened(seen: Watched, artefacts: Path) -> None:
    page = seen.page
    page.get_by_role("button", name="Destroy").click()
    expect(page.locator("#map")).to_contain_text("No lab yet")
    page.locator("#tab-experiments").click()
    page.locator("#run-form select[name=experiment]").select_option("a document of your own")
    page.get_by_role("textbox", name="Document").fill("{")
    page.get_by_role("button", name="Start", exact=True).last.click()
    expect(page.locator("#message")).to_contain_text("the document is no JSON")
    page.screenshot(path=artefacts / "refused.png")
    page.get_by_role("textbox", name="Document").fill(json.dumps(SHORT))
    page.get_by_role("button", name="Start", exact=True).last.click()
    run = page.locator("#run")
    expect(run.locator(".progress-words")).to_be_visible()
    figure = run.locator("img.figure")
    expect(figure).to_be_visible()
    wait_until(lambda: figure.evaluate("image => image.naturalWidth") > 0, "the figure to be drawn")
    expect(run.get_by_role("region", name="Rows")).to_contain_text("linux")
    state = run.locator(".chip").first.text_content()
    if state == "invalid":  # a busy machine may void a trial: then it says why
        run.get_by_text("invalid trial").first.click()
        expect(run.locator("details li").last).not_to_be_empty()
    page.screenshot(path=artefacts / "run.png")


def test_a_restart_of_the_server_is_waited_for(seen: Watched, site: Site) -> None:
    page = seen.page
    assert seen.faults == []
    site.stop()
    expect(page.get_by_text("The server is gone.")).to_be_visible()
    site.start_again()
    expect(page.get_by_text("The server is gone.")).to_be_hidden()
    expect(page.locator("#run-list")).to_contain_text("short")
    page.locator("#tab-lab").click()
    site.server.deploy(f"{LAB}-2")
    expect(page.locator("#lab-state")).to_have_text("ready")
    expect(page.locator("[data-node='h:middle']")).to_be_visible()
    # While nobody answered, the browser itself said so on its console.
    seen.faults = [fault for fault in seen.faults if "net::ERR_" not in fault]
