"""An orchestrator as the verbs see it: what goes wrong is a `Failure` with its exit status."""

import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

from orchestrator.cli.failures import FAILED, USAGE, Failure
from orchestrator.connection import (
    REQUEST_S,
    BadAddress,
    BadToken,
    Connection,
    Refused,
    Unreachable,
    token_of_the_environment,
)

PROBE_S = 20.0


class ProblemReply(Failure):
    """The server refused: `status` and `field` as in its problem+json."""

    def __init__(self, refused: Refused) -> None:
        lines = [str(refused)]
        problems = refused.problems if len(refused.problems) > 1 else []
        lines += [f"  {p.get('place')}: {p.get('message')}" for p in problems[:20]]
        super().__init__("\n".join(lines), USAGE if refused.status in (400, 413, 415, 422) else FAILED)
        self.status = refused.status
        self.field = refused.field
        self.problems = refused.problems


class ServerGone(Failure):
    """No answer from the server any more."""


class Server:
    """One orchestrator, by its address: `http://127.0.0.1:8351`, `https://NAME:PORT` or `unix:/path`.

    `headers` are those that every request has. The token is the one in the file that `$TRANSSHIP_TOKEN_FILE`
    names.
    """

    def __init__(self, address: str) -> None:
        with _failures():
            self._connection = Connection(address, token_of_the_environment())
        self.address = self._connection.address
        self.headers = self._connection.headers

    def health(self) -> dict[str, Any] | None:
        """The server's health; None if nothing there answers as Transship."""
        try:
            answer = self.request("GET", "/api/v1/health", timeout=PROBE_S)
        except Failure:
            return None
        return answer if isinstance(answer, dict) and answer.get("service") == "transship" else None

    def request(self, method: str, path: str, body: Any = None, timeout: float = REQUEST_S) -> Any:
        """The JSON of a successful answer, None if it has none. Raises ProblemReply, ServerGone."""
        return _decoded(self.raw(method, path, body, timeout))

    def raw(self, method: str, path: str, body: Any = None, timeout: float = REQUEST_S) -> bytes:
        """The bytes of a successful answer. Raises ProblemReply, ServerGone."""
        with _failures():
            content = None if body is None else json.dumps(body).encode()
            return self._connection.request(method, path, content, timeout=timeout)

    def stream(self, path: str) -> Generator[bytes, None, None]:
        """The bytes of a successful answer as they come. Raises ProblemReply, ServerGone."""
        with _failures():
            yield from self._connection.stream(path)

    def upload(self, path: str, content: bytes, content_type: str) -> Any:
        """POST bytes that are no JSON; the JSON of a successful answer. Raises ProblemReply, ServerGone."""
        with _failures():
            return _decoded(self._connection.request("POST", path, content, content_type))

    def events(self, run: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """(kind, data) of a run's events, beginning with how it is now; ends when the server ends it.

        Raises ProblemReply, ServerGone.
        """
        with _failures():
            for event in self._connection.events(run):
                yield event.kind, event.data

    def live(self, lab: str, every_s: float) -> Iterator[tuple[str, dict[str, Any]]]:
        """(kind, data) of a lab's samples, and at last of its end. Raises as `events`."""
        with _failures():
            for event in self._connection.live(lab, every_s):
                yield event.kind, event.data


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except Refused as error:
        raise ProblemReply(error) from error
    except Unreachable as error:
        raise ServerGone(str(error)) from error
    except BadAddress as error:
        raise Failure(f"--server {error}", USAGE) from error
    except BadToken as error:
        raise Failure(str(error), USAGE) from error


def _decoded(content: bytes) -> Any:
    try:
        return json.loads(content) if content.strip() else None
    except ValueError:
        return None
