"""The parts of a running orchestrator, as the API's handlers find them in the application."""

from pathlib import Path
from typing import Any, Protocol

from aiohttp import web

from orchestrator.events import EventBus
from orchestrator.labs import Labs, MachineSource
from orchestrator.live import Live
from orchestrator.metrics import Counts
from orchestrator.runs import Engine, Runs
from orchestrator.store import Store


class MachineDescription(MachineSource, Protocol):
    """A machine that can also say how it is."""

    def describe(self) -> dict[str, Any]:
        """The fields of the REST API's MachineView."""
        ...


class Catalogue(Engine, Protocol):
    """An engine that can also list what it knows; each entry has the fields of the REST API's view of it."""

    def experiments(self) -> list[dict[str, Any]]:
        """Every experiment."""
        ...

    def systems(self) -> list[dict[str, Any]]:
        """Every I/O system."""
        ...


COUNTS = web.AppKey("counts", Counts)
STATE = web.AppKey("state", Path)
EVENTS = web.AppKey("events", EventBus)
STORE = web.AppKey("store", Store)
LABS = web.AppKey("labs", Labs)
LIVE = web.AppKey("live", Live)
RUNS = web.AppKey("runs", Runs)
# AppKey wants a class at run time; a Protocol serves for that, and the type checker holds us to it.
MACHINE: web.AppKey[MachineDescription] = web.AppKey("machine", object)  # type: ignore[arg-type]
CATALOGUE: web.AppKey[Catalogue] = web.AppKey("catalogue", object)  # type: ignore[arg-type]
