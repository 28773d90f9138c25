"""The six calls through a real manager process, on a wire that is a pair of sockets."""

import pytest

from tests.agents.shipping.programs import CORE, MEMORY, NET, Workshop, behaviours, run

CALLS = [(program, test) for program in ("test_calls", "test_datagrams") for test in behaviours(program)]


@pytest.mark.parametrize(("program", "test"), CALLS)
def test_call(workshop: Workshop, program: str, test: str) -> None:
    run(workshop.build(program, [*CORE, *NET], MEMORY, "fake_wire"), test)


@pytest.mark.parametrize("test", behaviours("test_neighbours"))
def test_neighbour(workshop: Workshop, test: str) -> None:
    options = [*MEMORY, "-Wl,--wrap=clock_gettime"]
    run(workshop.build("test_neighbours", [*CORE, *NET], options, "fake_wire"), test)


@pytest.mark.parametrize("test", behaviours("test_crashes"))
def test_crash(workshop: Workshop, test: str) -> None:
    run(workshop.build("test_crashes", [*CORE, *NET], MEMORY, "fake_wire"), test)


@pytest.mark.parametrize("test", behaviours("test_zeroing"))
def test_zeroing_and_recycling(workshop: Workshop, test: str) -> None:
    run(workshop.build("test_zeroing", [*CORE, *NET], MEMORY, "fake_wire"), test)


@pytest.mark.parametrize("test", behaviours("test_shares"))
def test_share(workshop: Workshop, test: str) -> None:
    run(workshop.build("test_shares", [*CORE, *NET], MEMORY, "fake_wire"), test)


@pytest.mark.parametrize("test", behaviours("test_ready"))
def test_readiness(workshop: Workshop, test: str) -> None:
    run(workshop.build("test_ready", [*CORE, *NET], MEMORY, "fake_wire"), test)


@pytest.mark.parametrize("test", behaviours("test_forks"))
def test_fork(workshop: Workshop, test: str) -> None:
    run(workshop.build("test_forks", [*CORE, *NET], MEMORY, "fake_wire"), test)
