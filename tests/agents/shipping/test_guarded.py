"""Each device in each protection tier: what is given away is out of reach, what comes shows nothing else."""

import pytest

from agents.workload import PROTECTIONS
from tests.agents.shipping.programs import CORE, MEMORY, NET, Workshop, behaviours, run

OPTIONS = {"test_guarded": ["-Wl,--wrap=clock_gettime"], "test_large_pages": [], "test_map_ahead": []}
TESTS = [(program, test) for program in OPTIONS for test in behaviours(program)]


@pytest.mark.parametrize("tier", PROTECTIONS)
@pytest.mark.parametrize(("program", "test"), TESTS)
def test_guarded(workshop: Workshop, program: str, test: str, tier: str) -> None:
    options = [*MEMORY, *OPTIONS[program]]
    built = workshop.build(program, [*CORE, *NET], options, "fake_wire")
    run(built, test, tier=PROTECTIONS.index(tier))
