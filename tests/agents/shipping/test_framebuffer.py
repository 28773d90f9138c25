"""Frame buffers: their writers, those who look at them, and the clock of their bus."""

import pytest

from tests.agents.shipping.programs import CORE, MEMORY, NET, Workshop, behaviours, run

SCREENS = [
    (program, test) for program in ("test_framebuffer", "test_scanout") for test in behaviours(program)
]


@pytest.mark.parametrize(("program", "test"), SCREENS)
def test_framebuffer(workshop: Workshop, program: str, test: str) -> None:
    run(workshop.build(program, [*CORE, *NET], MEMORY, "fake_wire"), test)


@pytest.mark.parametrize("test", behaviours("test_bus"))
def test_bus(workshop: Workshop, test: str) -> None:
    run(workshop.build("test_bus", ["devices/framebuffer_memory.c"], MEMORY), test)
