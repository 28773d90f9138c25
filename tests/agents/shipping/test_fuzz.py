"""Hostile frames, descriptors and requests: the same ones every time, under the sanitizers, no network.

A frame that was ever treated wrongly belongs into corpus/frames.txt.
"""

import pytest

from tests.agents.shipping.programs import CORE, MEMORY, NET, Workshop, behaviours, run


@pytest.mark.parametrize("test", behaviours("fuzz"))
def test_hostile(workshop: Workshop, test: str) -> None:
    run(workshop.build("fuzz", [*CORE, *NET], MEMORY, "fake_wire"), test, seconds=40)


@pytest.mark.parametrize("test", behaviours("test_corpus"))
def test_kept_frames(workshop: Workshop, test: str) -> None:
    run(workshop.build("test_corpus", [*CORE, *NET], MEMORY, "fake_wire"), test)
