"""Keeping web pages out: the server is for programs of this machine, and browsers run other people's.

A page that resolves its own name to 127.0.0.1 (DNS rebinding) still sends that name as `Host`; a page that
posts across origins sends its own `Origin`.
"""

from aiohttp import web
from yarl import URL

from agents.errors import Problem
from agents.problems import Handler

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@web.middleware
async def local_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse requests that name another host, and changes that come from another origin."""
    try:
        named = URL(f"http://{request.headers.get('Host', '')}").host
    except ValueError:
        named = None
    if named not in LOOPBACK:
        raise Problem(
            421, f"this server answers to localhost only, not to {request.headers.get('Host')!r}", "Host"
        )
    origin = request.headers.get("Origin")
    if request.method not in ("GET", "HEAD") and origin is not None and origin != f"http://{request.host}":
        raise Problem(403, f"changes from the origin {origin!r} are not accepted", "Origin")
    return await handler(request)
