"""Who is answered, and how much: names and origins, the token, the rate of requests, the number of
connections.

The server is for programs, and browsers run other people's. A page that resolves its own name to 127.0.0.1
(DNS rebinding) still sends that name as `Host`; a page that posts across origins, or opens a WebSocket, sends
its own `Origin`.
"""

import asyncio
import hmac
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Container

from aiohttp import web
from aiohttp.typedefs import Middleware
from yarl import URL

from agents.errors import Problem
from agents.problems import Handler, problem_response
from orchestrator.access import Access

CONNECTIONS = 512
"""At once; one more is told so and closed."""
RATE, BURST = 2000.0, 4000.0
"""Requests that one peer may make in a second, and at once after it has been quiet."""
PEERS = 1024
"""Peers whose requests are counted; the one that has been quiet for longest is forgotten first."""


def guard(
    access: Access, clock: Callable[[], float] = time.monotonic, public: Container[str] = ()
) -> tuple[Middleware, ...]:
    """The middlewares that keep strangers and floods out. `public` paths need no token: they hold no secret,
    and a browser has none before the page has asked for it."""
    flow = Flow(clock)

    @web.middleware
    async def slow_down(request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse a peer that asks too often."""
        if flow.takes(request.remote or ""):
            return await handler(request)
        answer = problem_response(Problem(429, f"more than {RATE:.0f} requests in a second; ask again later"))
        answer.headers["Retry-After"] = "1"
        return answer

    @web.middleware
    async def named_rightly(request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse requests that name another host, or come from a page of another origin."""
        try:
            named = URL(f"http://{request.headers.get('Host', '')}").host
        except ValueError:
            named = None
        if not access.answers_to(named):
            known = "localhost" if access.token is None else ", ".join(sorted(access.names))
            raise Problem(
                421, f"this server answers to {known} only, not to {request.headers.get('Host')!r}", "Host"
            )
        origin = request.headers.get("Origin")
        ours = f"{'http' if access.tls is None else 'https'}://{request.host}"
        if origin is not None and origin != ours:
            raise Problem(403, f"requests from the origin {origin!r} are not accepted", "Origin")
        return await handler(request)

    @web.middleware
    async def authorised(request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse requests without the token."""
        given = request.headers.get("Authorization", "").encode(errors="replace")
        if (
            access.token is None
            or request.path in public
            or hmac.compare_digest(given, f"Bearer {access.token}".encode())
        ):
            return await handler(request)
        answer = problem_response(
            Problem(401, "this server answers requests with its token only", "Authorization")
        )
        answer.headers["WWW-Authenticate"] = "Bearer"
        return answer

    return (slow_down, named_rightly, authorised)


class Flow:
    """How many requests each peer may still make: a bucket that fills with `RATE` up to `BURST`."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def takes(self, peer: str) -> bool:
        """Whether there is room for one more request of this peer, which takes it."""
        now = self._clock()
        left, moment = self._buckets.pop(peer, (BURST, now))
        left = min(BURST, left + (now - moment) * RATE)
        taken = left >= 1
        self._buckets[peer] = (left - 1 if taken else left, now)
        if len(self._buckets) > PEERS:
            self._buckets.popitem(last=False)
        return taken


class Full(asyncio.Protocol):
    """What a connection finds that is one too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        body = json.dumps(Problem(503, f"there are {CONNECTIONS} connections already").document())
        transport.write(
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n"
            f"Content-Length: {len(body)}\r\nRetry-After: 1\r\nConnection: close\r\n\r\n{body}".encode()
        )
        transport.close()


def counted(server: web.Server) -> Callable[[], asyncio.BaseProtocol]:
    """What makes the protocol of each connection of `server`, while there are not too many."""

    def connect() -> asyncio.BaseProtocol:
        return server() if len(server.connections) < CONNECTIONS else Full()

    return connect
