"""Each device in each protection tier: what is given away is out of reach, what comes shows nothing else."""

import pytest

from agents.workload import PROTECTIONS
from tests.agents.shipping.programs import CORE, MEMORY, NET, Workshop, behaviours, run


@pytest.mark.parametrize("tier", PROTECTIONS)
@pytest.mark.parametrize("test", behaviours("test_guarded"))
def test_guarded(workshop: Workshop, test: str, tier: str) -> None:
    options = [*MEMORY, "-Wl,--wrap=clock_gettime"]
    program = workshop.build("test_guarded", [*CORE, *NET], options, "fake_wire")
    run(program, test, tier=PROTECTIONS.index(tier))
