"""Errors as every service of Transship tells them (RFC 9457), free of any web library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Self


class Problem(Exception):
    """Something a service refuses to do, or could not do.

    `status` is the HTTP status, `detail` one sentence for the person who asked, `field` the part of
    the request at fault (dotted, such as `networks.ring-a.rate_mbps`), `problems` further ones when a
    document has several.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        field: str | None = None,
        problems: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.field = field
        self.problems = [dict(problem) for problem in problems]

    def document(self) -> dict[str, Any]:
        """The `application/problem+json` body."""
        body: dict[str, Any] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "field": self.field,
        }
        if self.problems:
            body["problems"] = self.problems
        return body

    @classmethod
    def from_document(cls, status: int, body: Mapping[str, Any]) -> Self:
        """The reverse of `document`, for a client; tolerant, because the peer may be any server."""
        problems = body.get("problems")
        field = body.get("field")
        return cls(
            status,
            str(body.get("detail") or body.get("title") or f"HTTP status {status}"),
            field if isinstance(field, str) else None,
            [p for p in problems if isinstance(p, Mapping)] if isinstance(problems, list) else (),
        )


class AgentError(Problem):
    """A request that a machine agent or host agent refused, or could not answer because it is dead.

    For a dead agent `status` is 503 and `detail` names the agent, its process id and its signal.
    """


def not_found(kind: str, name: str, where: str = "") -> Problem:
    """The 404 of an unknown lab, host, network, workload, ..., naming it."""
    return Problem(404, f"there is no {kind} {name!r}" + (f" in {where}" if where else ""), kind)
