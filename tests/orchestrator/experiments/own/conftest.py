"""These tests run many experiments; what the machine's memory costs is not what they look at."""

from __future__ import annotations

import pytest

from orchestrator.experiments import environment


@pytest.fixture(autouse=True)
def memory_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "page_touch_us", lambda: {"warm": 0.1, "rested": 0.1})
