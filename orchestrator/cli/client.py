"""A client of the orchestrator on the standard library alone, so that the command line starts at once."""

import http.client
import json
import os
import socket
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from orchestrator.cli.failures import FAILED, USAGE, Failure

PROBE_S = 20.0
REQUEST_S = 120.0
SILENCE_S = 20.0
"""Seconds without even a heartbeat after which a connection for events is given up."""


class ProblemReply(Failure):
    """The server refused: `status` and `field` as in its problem+json."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        lines = [str(body.get("detail") or body.get("title") or f"HTTP status {status}")]
        problems = body.get("problems") or []
        lines += (
            [f"  {p.get('place')}: {p.get('message')}" for p in problems[:20]] if len(problems) > 1 else []
        )
        super().__init__("\n".join(lines), USAGE if status in (400, 413, 415, 422) else FAILED)
        self.status = status
        self.field = body.get("field")
        self.problems: list[dict[str, Any]] = problems


class ServerGone(Failure):
    """No answer from the server any more."""


def _authorization() -> dict[str, str]:
    """The header with the token in the file that `$TRANSSHIP_TOKEN_FILE` names. Raises Failure."""
    name = os.environ.get("TRANSSHIP_TOKEN_FILE")
    if not name:
        return {}
    try:
        return {"Authorization": f"Bearer {Path(name).read_text(encoding='ascii').strip()}"}
    except (OSError, ValueError) as error:
        raise Failure(f"TRANSSHIP_TOKEN_FILE={name}: {error}", USAGE) from None


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float | None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Server:
    """One orchestrator, by its address: `http://127.0.0.1:8351`, `https://NAME:PORT` or `unix:/path`.

    `headers` are those that every request has.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        if not self.address.startswith(("http://", "https://", "unix:/")):
            raise Failure(
                f"--server {address!r}: give http://127.0.0.1:PORT, https://NAME:PORT or unix:/path", USAGE
            )
        self.headers = _authorization()

    def health(self) -> dict[str, Any] | None:
        """The server's health; None if nothing there answers as Transship."""
        try:
            answer = self.request("GET", "/api/v1/health", timeout=PROBE_S)
        except Failure:
            return None
        return answer if isinstance(answer, dict) and answer.get("service") == "transship" else None

    def request(self, method: str, path: str, body: Any = None, timeout: float = REQUEST_S) -> Any:
        """The JSON of a successful answer, None if it has none. Raises ProblemReply, ServerGone."""
        return self._decode(self.raw(method, path, body, timeout))

    def raw(self, method: str, path: str, body: Any = None, timeout: float = REQUEST_S) -> bytes:
        """The bytes of a successful answer. Raises ProblemReply, ServerGone."""
        connection = self._connect(timeout)
        try:
            kind = {"Content-Type": "application/json"} if body is not None else {}
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, self.headers | kind)
            response = connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._gone(error) from error
        finally:
            connection.close()
        if response.status >= 400:
            raise ProblemReply(response.status, self._decode(answer) or {})
        return answer

    def stream(self, path: str) -> Generator[bytes, None, None]:
        """The bytes of a successful answer as they come. Raises ProblemReply, ServerGone."""
        connection = self._connect(None)
        try:
            connection.request("GET", path, headers=self.headers)
            response = connection.getresponse()
            if response.status >= 400:
                raise ProblemReply(response.status, self._decode(response.read()) or {})
            while data := response.read1(1 << 16):
                yield data
        except (OSError, http.client.HTTPException) as error:
            raise self._gone(error) from error
        finally:
            connection.close()

    def events(self, run: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """(kind, data) of a run's events, beginning with how it is now; ends when the server ends it.

        Raises ProblemReply, ServerGone.
        """
        connection = self._connect(SILENCE_S)
        try:
            connection.request("GET", f"/api/v1/events?run={run}", headers=self.headers)
            response = connection.getresponse()
            if response.status >= 400:
                raise ProblemReply(response.status, self._decode(response.read()) or {})
            kind, data = "", ""
            while line := response.readline():
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name == "event":
                    kind = value
                elif name == "data":
                    data = value
                elif not name and kind:
                    yield kind, json.loads(data)
                    kind = ""
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
            connection = http.client.HTTPConnection(self.address[7:], timeout=timeout)
        except (ValueError, http.client.HTTPException) as error:
            raise Failure(f"--server {self.address!r}: {error}", USAGE) from None
        return connection

    def _gone(self, error: Exception) -> ServerGone:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return ServerGone(f"no answer from the orchestrator at {self.address}: {why}")

    @staticmethod
    def _decode(content: bytes) -> Any:
        try:
            return json.loads(content) if content.strip() else None
        except ValueError:
            return None
