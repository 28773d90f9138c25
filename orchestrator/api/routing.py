"""One row for each thing the API can do: the server, the OpenAPI description and /docs are made from rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from aiohttp import web
from pydantic import BaseModel

from agents.problems import Handler


@dataclass(frozen=True)
class Media:
    """A body that is not JSON. `events` are the models of its parts where it is a stream of them."""

    content_type: str
    description: str
    events: Mapping[str, type[BaseModel]] = field(default_factory=dict)


Shape = type[BaseModel] | list[type[BaseModel]] | Media | tuple[Media, ...] | None
"""What an answer is."""


@dataclass(frozen=True)
class Route:
    """A method and path, what answers it, what it takes and gives. The handler's docstring is its summary.

    `replies` maps each status of success to a model, a list of one (a JSON array), a Media, several of them
    to choose from, or None (empty); `body` is a model of JSON or a Media;
    `problems` are the statuses it can fail with, beside those every route can (401, 403, 421, 429,
    500) or that come with a body (400).
    """

    method: str
    path: str
    handler: Handler
    replies: Mapping[int, Shape]
    problems: tuple[int, ...] = ()
    body: type[BaseModel] | Media | None = None
    query: type[BaseModel] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """One line about it."""
        return (self.handler.__doc__ or "").strip().splitlines()[0]

    @property
    def name(self) -> str:
        """Its operation id."""
        return str(getattr(self.handler, "__name__", ""))

    @property
    def parameters(self) -> list[str]:
        """The names in its path."""
        return [part[1:-1] for part in self.path.split("/") if part.startswith("{")]


def reply(model: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """A model as a JSON response."""
    return web.Response(
        text=model.model_dump_json() + "\n", status=status, content_type="application/json", headers=headers
    )
