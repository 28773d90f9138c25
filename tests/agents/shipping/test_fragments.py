"""Datagrams larger than a frame: fragments put together and made, on a wire that is a pair of sockets."""

import pytest

from tests.agents.shipping.programs import CORE, MEMORY, NET, Workshop, behaviours, run

OPTIONS = [*MEMORY, "-Wl,--wrap=clock_gettime"]
"""The time that fragments are waited for goes by when a test says so."""


WHOLE = [(program, test) for program in ("test_fragments", "test_sending") for test in behaviours(program)]


@pytest.mark.parametrize(("program", "test"), WHOLE)
def test_fragments(workshop: Workshop, program: str, test: str) -> None:
    run(workshop.build(program, [*CORE, *NET], OPTIONS, "fake_wire"), test)


@pytest.mark.parametrize("test", behaviours("fuzz_fragments"))
def test_hostile_fragments(workshop: Workshop, test: str) -> None:
    run(workshop.build("fuzz_fragments", [*CORE, *NET], OPTIONS, "fake_wire"), test)
