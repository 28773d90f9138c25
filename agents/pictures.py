"""A picture of what a frame buffer shows, as it goes from agent to agent to who asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from aiohttp import web

PNG = "image/png"
FRAME_HEADER = "Transship-Frame"
"""Which frame it is: the number that the frame buffer has given it."""


class Picture(NamedTuple):
    """A frame as a PNG file, and its number."""

    frame: int
    png: bytes


def picture_response(picture: Picture) -> web.Response:
    """The answer that carries it."""
    headers = {"Cache-Control": "no-store", FRAME_HEADER: str(picture.frame)}
    return web.Response(body=picture.png, content_type=PNG, headers=headers)


def picture_of(content: bytes, headers: Mapping[str, str]) -> Picture:
    """What such an answer carries."""
    return Picture(int(headers[FRAME_HEADER]), content)
