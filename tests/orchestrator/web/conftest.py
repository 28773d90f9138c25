"""A real browser, and pages of it that must not complain nor ask anybody else."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from tests.support import PATIENCE_S

expect.set_options(timeout=PATIENCE_S * 1000)
DESK, PHONE = (1280, 800), (375, 812)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Of one module: while Playwright is there, its event loop runs in this thread, and no other can."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("needs chromium (Debian's package)")
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=program, args=options) as found,
    ):
        yield found


@pytest.fixture(scope="module")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots are kept."""
    given = os.environ.get("TRANSSHIP_ARTEFACTS")
    directory = Path(given) if given else tmp_path_factory.mktemp("page")
    directory.mkdir(parents=True, exist_ok=True)
    return directory


class Watched:
    """A page, and what was wrong with it: errors on its console, requests to another server."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.faults: list[str] = []
        self.address = address
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("request", self._asked)
        page.set_default_timeout(PATIENCE_S * 1000)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"{message.type}: {message.text} ({message.location.get('url')})")

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((self.address, f"blob:{self.address}")):
            self.faults.append(f"asked another server: {request.url}")

    def close(self) -> None:
        """The end of it, with nothing to complain of."""
        self.page.context.close()
        assert self.faults == []


def watched(
    browser: Browser, address: str, size: tuple[int, int] = DESK, dark: bool = False, path: str = "/"
) -> Watched:
    """A page of its own browser context, opened at `address`."""
    width, height = size
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",
        ignore_https_errors=True,
    )
    found = Watched(context.new_page(), address)
    found.page.goto(f"{address}{path}")
    return found
