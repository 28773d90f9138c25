"""An orchestrator over a fake machine, in this process."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer

from orchestrator.app import create_app
from orchestrator.events import EventBus
from tests.orchestrator.api import Api
from tests.orchestrator.fakes import FakeEngine, FakeKeeper, FakeMachine


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    engine, machine = FakeEngine(), FakeMachine()
    keepers: list[FakeKeeper] = []

    def keep(events: EventBus) -> FakeKeeper:
        keepers.append(FakeKeeper(events, machine))
        return keepers[0]

    (tmp_path / "runs").mkdir()
    app = create_app(tmp_path, keep, engine)
    async with TestClient(TestServer(app)) as client:
        yield Api(client, machine, keepers[0], engine)
