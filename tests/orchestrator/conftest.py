"""An orchestrator over a fake machine, in this process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from orchestrator.app import create_app
from orchestrator.events import EventBus
from tests.orchestrator.api import Api
from tests.orchestrator.fake_engine import FakeEngine
from tests.orchestrator.fakes import FakeKeeper, FakeMachine


@asynccontextmanager
async def served(tmp_path: Path, **options: Any) -> AsyncIterator[Api]:
    """An orchestrator with its results in `tmp_path`; options are those of `create_app`."""
    engine, machine = FakeEngine(), FakeMachine()
    keepers: list[FakeKeeper] = []

    def keep(events: EventBus) -> FakeKeeper:
        keepers.append(FakeKeeper(events, machine))
        return keepers[0]

    (tmp_path / "runs").mkdir()
    app = create_app(tmp_path, keep, engine, **options)
    async with TestClient(TestServer(app)) as client:
        yield Api(client, machine, keepers[0], engine)


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with served(tmp_path) as api:
        yield api
