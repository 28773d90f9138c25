"""A client for tests: sends, checks the status, and waits for what happens in the background."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp.test_utils import TestClient

from tests.orchestrator.fake_engine import FakeEngine
from tests.orchestrator.fakes import FakeKeeper, FakeMachine
from tests.support import PATIENCE_S

ENDED = ("done", "invalid", "failed", "cancelled")


@dataclass
class Api:
    """A client of a running orchestrator, and the fakes behind it."""

    client: TestClient[Any, Any]
    machine: FakeMachine
    keeper: FakeKeeper
    engine: FakeEngine

    async def send(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        """The JSON of an answer that must have this status."""
        async with self.client.request(method, path, json=body) as answer:
            text = await answer.text()
            assert answer.status == status, text
            return await answer.json(content_type=None) if text.strip() else None

    async def lab(self, name: str, topology: Any = "two-fddi") -> Any:
        """A lab that is ready."""
        await self.send("POST", "/api/v1/labs", {"name": name, "topology": topology}, 202)
        return await self.until(
            lambda: self.send("GET", f"/api/v1/labs/{name}"), lambda lab: lab["state"] == "ready"
        )

    async def run(self, experiment: str, **options: Any) -> Any:
        """A run that has ended."""
        run = await self.send("POST", "/api/v1/runs", {"experiment": experiment, **options}, 202)
        return await self.ended(run["id"])

    async def ended(self, run_id: str) -> Any:
        """A run, once it has ended."""
        return await self.until(
            lambda: self.send("GET", f"/api/v1/runs/{run_id}"), lambda run: run["state"] in ENDED
        )

    @staticmethod
    async def until(look: Callable[[], Awaitable[Any]], good: Callable[[Any], bool]) -> Any:
        """What `look` sees once it is good."""
        async with asyncio.timeout(PATIENCE_S):
            while not good(seen := await look()):  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            return seen
