"""Hostile frames, descriptors and requests: the same ones every time, under the sanitizers, no network.

What was ever treated wrongly belongs into the files of corpus/.
"""

import pytest

from tests.agents.shipping.programs import CORE, MEMORY, NET, Workshop, behaviours, run

HOSTILE = [(program, test) for program in ("fuzz", "fuzz_socket") for test in behaviours(program)]


@pytest.mark.parametrize(("program", "test"), HOSTILE)
def test_hostile(workshop: Workshop, program: str, test: str) -> None:
    run(workshop.build(program, [*CORE, *NET], MEMORY, "fake_wire"), test)


KEPT = [(program, test) for program in ("test_frames", "test_claims") for test in behaviours(program)]


@pytest.mark.parametrize(("program", "test"), KEPT)
def test_kept(workshop: Workshop, program: str, test: str) -> None:
    run(workshop.build(program, [*CORE, *NET], MEMORY, "fake_wire"), test)
