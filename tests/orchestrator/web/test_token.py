"""A server that wants a token: the page asks for it, and shows it in every request."""

import signal
from pathlib import Path

from playwright.sync_api import Browser, expect

from tests.orchestrator.processes import FAKE_SERVER, address_of, started, until_ended
from tests.orchestrator.web.conftest import watched

TOKEN = "0123456789abcdef0123456789abcdef"


def test_the_token_is_asked_for_until_it_is_right_and_kept_in_the_tab(
    browser: Browser, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    command = (
        *FAKE_SERVER,
        "--listen",
        "127.0.0.1:0",
        "--token",
        str(token),
        "--state",
        str(tmp_path / "state"),
    )
    with started(*command) as server:
        address = address_of(server)
        seen = watched(browser, address)
        page = seen.page
        page.get_by_role("textbox", name="Token").fill("0" * 32)
        page.get_by_role("button", name="Continue").click()
        expect(page.get_by_text("That was not the one.")).to_be_visible()
        page.get_by_role("textbox", name="Token").fill(TOKEN)
        page.get_by_role("button", name="Continue").click()
        expect(page.locator("#status")).to_have_text("Linux 6.1, 2 CPUs")
        page.get_by_text("Deploy a topology", exact=True).click()
        page.get_by_role("button", name="Deploy").click()
        expect(page.locator("#lab-state")).to_have_text("ready")
        page.locator("#calls-toggle").click()
        page.get_by_text("As code").last.click()
        code = page.locator("#call-list pre").first
        expect(code).to_contain_text('Authorization: Bearer $(cat "$TRANSSHIP_TOKEN_FILE")')
        assert TOKEN not in page.content()
        page.reload()
        expect(page.locator("#status")).to_have_text("Linux 6.1, 2 CPUs")
        # That a request was refused is all that the browser itself has to say.
        seen.faults = [fault for fault in seen.faults if "401 (Unauthorized)" not in fault]
        seen.close()
        server.send_signal(signal.SIGTERM)
        assert until_ended(server) == 0
