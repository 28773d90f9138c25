"""The page's files: a fixed list, kept by the browser while they are the same, and of this server alone."""

import re
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from agents.problems import problem_middleware
from orchestrator.access import Access
from orchestrator.api.guards import guard
from orchestrator.web import FILES, HERE, add_page
from tests.orchestrator.api import Api

TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize("place", sorted(FILES))
async def test_a_file_is_sent_once_and_then_known_by_its_tag(api: Api, place: str) -> None:
    async with api.client.get(place) as first:
        assert first.status == 200 and await first.read() == FILES[place].content
        assert first.headers["Content-Security-Policy"].startswith("default-src 'self';")
        assert "unsafe" not in first.headers["Content-Security-Policy"]
        assert first.headers["X-Content-Type-Options"] == "nosniff"
        tag = first.headers["ETag"]
    async with api.client.get(place, headers={"If-None-Match": f'"other", {tag}'}) as again:
        assert (again.status, await again.read(), again.headers["ETag"]) == (304, b"", tag)
    async with api.client.get(place, headers={"If-None-Match": '"other"'}) as changed:
        assert changed.status == 200


@pytest.mark.parametrize(
    "place",
    [
        "/static/",
        "/static/../__init__.py",
        "/static/%2e%2e/__init__.py",
        "/static//etc/passwd",
        "/index.html",
    ],
)
async def test_what_is_not_in_the_list_is_not_there(api: Api, place: str) -> None:
    async with api.client.get(place) as answer:
        assert answer.status == 404


def test_every_module_that_is_imported_is_there_and_fetched_at_once() -> None:
    imported = {
        f"/static/{name}"
        for path in HERE.glob("static/*.js")
        for name in re.findall(r"(?:from|import)\s*\(?'\./([\w.]+)'", path.read_text())
    }
    assert imported and imported <= set(FILES)
    html = FILES["/"].content.decode()
    at_once = set(re.findall(r'<link rel="modulepreload" href="([^"]+)"', html))
    assert at_once == imported - {"/static/video.js"}  # that one is loaded when it is opened


def test_nothing_is_from_elsewhere_and_nothing_is_inline() -> None:
    for place, file in FILES.items():
        addresses = set(re.findall(r"https?://[^\s\"'`<>)]+", file.content.decode()))
        assert addresses <= {"http://www.w3.org/2000/svg"}, place
    html = FILES["/"].content.decode()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", html)


async def test_the_page_needs_no_token_and_shows_none_of_what_does(tmp_path: Path) -> None:
    async def secret(request: web.Request) -> web.Response:
        return web.Response()

    app = web.Application(middlewares=[problem_middleware, *guard(Access(token=TOKEN), public=FILES)])
    app.router.add_get("/api/v1/labs", secret)
    add_page(app)
    async with TestClient(TestServer(app)) as client:
        for path, headers, status in (
            ("/", {}, 200),
            ("/static/main.js", {}, 200),
            ("/", {"Host": "evil.example"}, 421),
            ("/", {"Origin": "http://evil.example"}, 403),
            ("/api/v1/labs", {}, 401),
            ("/api/v1/labs", {"Authorization": f"Bearer {TOKEN}"}, 200),
            ("/static/other.js", {}, 401),
        ):
            async with client.get(path, headers=headers) as answer:
                assert answer.status == status, path
