"""Frame buffers: their writers, those who look at them, and the clock of their bus."""

import pytest

from tests.agents.shipping.programs import CORE, MEMORY, NET, Workshop, behaviours, run


@pytest.mark.parametrize("test", behaviours("test_framebuffer"))
def test_framebuffer(workshop: Workshop, test: str) -> None:
    run(workshop.build("test_framebuffer", [*CORE, *NET], MEMORY, "fake_wire"), test)


@pytest.mark.parametrize("test", behaviours("test_bus"))
def test_bus(workshop: Workshop, test: str) -> None:
    run(workshop.build("test_bus", ["devices/framebuffer_memory.c"], MEMORY), test)
