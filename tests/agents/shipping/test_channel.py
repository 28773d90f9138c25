"""Local channels between processes of a host, through a real manager process."""

import pytest

from tests.agents.shipping.programs import CORE, MEMORY, NET, Workshop, behaviours, run

PROGRAMS = ("test_channel", "test_channel_ends")


@pytest.mark.parametrize(("program", "test"), [(p, test) for p in PROGRAMS for test in behaviours(p)])
def test_channel(workshop: Workshop, program: str, test: str) -> None:
    run(workshop.build(program, [*CORE, *NET], MEMORY, "fake_wire"), test)
