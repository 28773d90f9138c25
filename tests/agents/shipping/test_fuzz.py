"""Hostile frames, descriptors and requests: the same ones every time, under the sanitizers, no network."""

import pytest

from tests.agents.shipping.programs import CORE, MEMORY, NET, Workshop, behaviours, run


@pytest.mark.parametrize("test", behaviours("fuzz"))
def test_hostile(workshop: Workshop, test: str) -> None:
    run(workshop.build("fuzz", [*CORE, *NET], MEMORY, "fake_wire"), test, seconds=40)
