"""A real machine agent."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.agents.machine_process import LAB, MachineProcess, machine_process, small_lab


@pytest.fixture
async def machine() -> AsyncIterator[MachineProcess]:
    """One with a lab of two hosts."""
    async with machine_process() as running:
        await running.client.deploy(LAB, small_lab())
        yield running
