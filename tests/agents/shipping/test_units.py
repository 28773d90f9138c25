"""The parts of the library alone, under the address and undefined-behaviour sanitizers."""

import pytest

from tests.agents.shipping.programs import MEMORY, POOL, THREADS, Workshop, behaviours, run

PARTS = {
    "test_ring": [],
    "test_pool": POOL,
    "test_packet": ["net/packet_format.c"],
    "test_xdp": POOL,
    "test_reassembly": [*POOL, "net/reassembly.c"],
    "test_cutting": [*POOL, "net/fragment.c", "net/packet_format.c"],
    "test_arp": ["net/arp.c", "net/packet_format.c"],
}


@pytest.mark.parametrize(("part", "test"), [(part, test) for part in PARTS for test in behaviours(part)])
def test_part(workshop: Workshop, part: str, test: str) -> None:
    run(workshop.build(part, PARTS[part], MEMORY), test)


@pytest.mark.parametrize("test", behaviours("ring_threads"))
def test_ring_between_threads(workshop: Workshop, test: str) -> None:
    run(workshop.build("ring_threads", [], THREADS), test)
