"""Requests to an orchestrator on the standard library alone, so that the command line starts at once."""

import http.client
import json
import os
import socket
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

REQUEST_S = 120.0
SILENCE_S = 20.0
"""Seconds without even a heartbeat after which a connection for events is given up."""


class ClientError(Exception):
    """A request did not come to what was asked; the message says why."""


class BadAddress(ClientError):
    """An address that no orchestrator can have."""


class BadToken(ClientError):
    """The file with the token cannot be read, or has none."""


class Unreachable(ClientError):
    """No answer from the orchestrator, or none any more."""


class Refused(ClientError):
    """The orchestrator refused. `status`, `field` and `problems` are as in its problem+json."""

    def __init__(self, status: int, content: bytes) -> None:
        try:
            found = json.loads(content)
        except ValueError:
            found = None
        problem: dict[str, Any] = found if isinstance(found, dict) else {}
        super().__init__(str(problem.get("detail") or problem.get("title") or f"HTTP status {status}"))
        self.status = status
        self.field: str | None = problem.get("field")
        self.problems: list[dict[str, Any]] = problem.get("problems") or []


@dataclass(frozen=True)
class Event:
    """Something that happened: `kind` is one of those of api/event_models.py; `id` resumes after it."""

    kind: str
    data: dict[str, Any]
    id: str | None = None


class Reader:
    """Server-sent events out of lines, or out of bytes as they come."""

    def __init__(self) -> None:
        self._kind, self._data = "", ""
        self._id: str | None = None
        self._begun = bytearray()

    def feed(self, data: bytes) -> Iterator[Event]:
        """The events that these bytes complete. A line may be of any length."""
        *ends, rest = data.split(b"\n")
        for end in ends:
            line, self._begun = bytes(self._begun + end), bytearray()
            if event := self.line(line):
                yield event
        self._begun += rest

    def line(self, line: bytes) -> Event | None:
        """The event that this line completes, if it does."""
        name, _, value = line.decode().rstrip("\r\n").partition(": ")
        if name == "event":
            self._kind = value
        elif name == "data":
            self._data = value
        elif name == "id":
            self._id = value
        elif not name and self._kind:
            event = Event(self._kind, json.loads(self._data), self._id)
            self._kind, self._data, self._id = "", "", None
            return event
        return None


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float | None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def checked_address(address: str) -> str:
    """An orchestrator's address: `http://127.0.0.1:8351`, `https://NAME:PORT` or `unix:/path`. Raises
    BadAddress."""
    if not address.startswith(("http://", "https://", "unix:/")):
        raise BadAddress(f"{address!r}: give http://127.0.0.1:PORT, https://NAME:PORT or unix:/path")
    return address.rstrip("/")


def token_of_the_environment() -> str | None:
    """The token in the file that `$TRANSSHIP_TOKEN_FILE` names, if it names one. Raises BadToken."""
    name = os.environ.get("TRANSSHIP_TOKEN_FILE")
    if not name:
        return None
    try:
        return Path(name).read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise BadToken(f"TRANSSHIP_TOKEN_FILE={name}: {error}") from None


def authorization(token: str | None) -> dict[str, str]:
    """The headers that show a token."""
    return {"Authorization": f"Bearer {token}"} if token else {}


def events_path(run: str | None) -> str:
    """Where the events of one run are, or all."""
    return "/api/v1/events" + (f"?run={run}" if run is not None else "")


def live_path(lab: str, every_s: float) -> str:
    """Where the samples of a lab are."""
    return f"/api/v1/labs/{quote(lab, safe='')}/live?every_s={every_s:g}"


class Connection:
    """One orchestrator, by its address. Every request has a connection of its own, and these `headers`."""

    def __init__(self, address: str, token: str | None = None) -> None:
        self.address = checked_address(address)
        self.headers = authorization(token)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        content_type: str = "application/json",
        timeout: float = REQUEST_S,
    ) -> bytes:
        """The body of a good answer. Raises Refused, Unreachable, BadAddress."""
        kind = {"Content-Type": content_type} if body is not None else {}
        with self._asked(timeout, method, path, body, kind) as response:
            return response.read()

    def stream(self, path: str) -> Generator[bytes, None, None]:
        """The body of a good answer as it comes. Raises Refused, Unreachable, BadAddress."""
        with self._asked(None, "GET", path) as response:
            while data := response.read1(1 << 16):
                yield data

    def events(self, run: str | None = None, last: str | None = None) -> Iterator[Event]:
        """Events from now on, or after the one with the id `last`; of one run, beginning with how it is now.

        Ends when the orchestrator ends it. Raises Refused, Unreachable, BadAddress.
        """
        return self._follow(events_path(run), {"Last-Event-ID": last} if last else {})

    def live(self, lab: str, every_s: float = 0.5) -> Iterator[Event]:
        """The samples of a lab, and at last what became of it. Raises as `events`."""
        return self._follow(live_path(lab, every_s))

    def _follow(self, path: str, headers: Mapping[str, str] = {}) -> Iterator[Event]:
        reader = Reader()
        with self._asked(SILENCE_S, "GET", path, headers=headers) as response:
            while line := response.readline():
                if event := reader.line(line):
                    yield event

    @contextmanager
    def _asked(
        self,
        timeout: float | None,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] = {},
    ) -> Iterator[http.client.HTTPResponse]:
        """A good answer, to be read."""
        connection = self._connect(timeout)
        try:
            connection.request(method, path, body, {**self.headers, **headers})
            response = connection.getresponse()
            if response.status >= 400:
                raise Refused(response.status, response.read())
            yield response
        except (OSError, http.client.HTTPException) as error:
            raise self._gone(error) from error
        finally:
            connection.close()

    def _connect(self, timeout: float | None) -> http.client.HTTPConnection:
        if self.address.startswith("unix:"):
            return _UnixConnection(self.address[5:], timeout)
        try:
            if self.address.startswith("https:"):
                return http.client.HTTPSConnection(self.address[8:], timeout=timeout)
            return http.client.HTTPConnection(self.address[7:], timeout=timeout)
        except (ValueError, http.client.HTTPException) as error:
            raise BadAddress(f"{self.address!r}: {error}") from None

    def _gone(self, error: Exception) -> Unreachable:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return Unreachable(f"no answer from the orchestrator at {self.address}: {why}")
