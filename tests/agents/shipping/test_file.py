"""The file device, through a real manager process, on this machine's file systems."""

import pytest

from tests.agents.shipping.programs import CORE, MEMORY, NET, Workshop, behaviours, run


@pytest.mark.parametrize("test", behaviours("test_file"))
def test_file(workshop: Workshop, test: str) -> None:
    run(workshop.build("test_file", [*CORE, *NET], MEMORY, "fake_wire"), test)


@pytest.mark.parametrize("test", behaviours("test_served_files"))
def test_served_files(workshop: Workshop, test: str) -> None:
    run(workshop.build("test_served_files", [*CORE, *NET], MEMORY, "fake_wire"), test)


@pytest.mark.parametrize("test", behaviours("test_file_errors"))
def test_file_errors(workshop: Workshop, test: str) -> None:
    options = [*MEMORY, "-Wl,--wrap=preadv,--wrap=pwritev"]
    run(workshop.build("test_file_errors", [*CORE, *NET], options, "fake_wire"), test)
