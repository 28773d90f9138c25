"""The page at `/`: files of ours, read once at the start. A request chooses among them and names none.

Nothing that the page loads comes from elsewhere, and the browser is told to refuse what would.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from agents.problems import Handler

HERE = Path(__file__).parent
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
HEADERS = {
    # Figures of a server that wants a token are fetched by the page and shown from memory: blob.
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-cache",  # kept, but asked for each time: a newer server has newer files
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class File:
    """One file of the page."""

    content: bytes
    content_type: str

    @property
    def tag(self) -> str:
        """What it is known by: another content has another one."""
        return hashlib.sha256(self.content).hexdigest()[:32]


def read_files() -> Mapping[str, File]:
    """Every file of the page, by the path that it has on the server."""
    found = {"/": HERE / "index.html"}
    found |= {f"/static/{path.name}": path for path in sorted((HERE / "static").iterdir())}
    return {
        place: File(path.read_bytes(), TYPES[path.suffix])
        for place, path in found.items()
        if path.suffix in TYPES
    }


FILES = read_files()


def add_page(app: web.Application) -> None:
    """The routes of the page."""
    for place, file in FILES.items():
        app.router.add_get(place, _answering(file))


def _answering(file: File) -> Handler:
    tag = file.tag

    async def get_file(request: web.Request) -> web.Response:
        known = request.if_none_match or ()
        same = any(one.value in ("*", tag) for one in known)
        answer = web.Response(
            status=304 if same else 200,
            body=None if same else file.content,
            headers=HEADERS,
        )
        answer.etag = tag
        if not same:
            answer.content_type = file.content_type
            answer.charset = "utf-8"
        return answer

    return get_file
