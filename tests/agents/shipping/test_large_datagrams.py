"""Datagrams that are larger than a frame, between the kernel's UDP and our stack, over real interfaces.

Both cut them into IPv4 fragments and put them together again, so that each is the other's judge.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.shipping import attach
from tests.agents.shipping.api_host import SOON, pattern, payload
from tests.agents.shipping.test_systems import CHATTER, Workload, forwarder, kernel_socket, manager, two_links
from tests.support import wait_until

pytestmark = pytest.mark.root

LARGEST = 65507
PAGE = 4096
HEADERS = 20 + 8


@pytest.fixture(scope="module", params=[1500, 4352])
def mtu(request: pytest.FixtureRequest) -> Iterator[int]:
    with two_links(request.param):
        yield request.param


def sizes(mtu: int) -> list[int]:
    """From one byte to the largest, and what lies around one and two full frames."""
    around = [count * (mtu - HEADERS) + more for count in (1, 2) for more in range(-9, 10)]
    return [1, 7, 8, 9, *around, *range(5000, LARGEST, 2999), LARGEST - 1, LARGEST]


def has_counted(sink: Workload, datagrams: int) -> bool:
    return sink.counters()["datagrams_in"] == datagrams


def check_passes_on(workload: Workload, mtu: int) -> None:
    """What the kernel sends to the forwarder comes out at its other side, byte for byte."""
    with kernel_socket("10.98.0.1", 0) as out, kernel_socket("10.98.1.1", 9000) as back:
        for size in sizes(mtu):
            data = pattern(size)
            out.sendto(data, ("10.98.0.2", 9000))
            assert back.recv(65536) == data, f"{size} bytes"
    result = workload.stop()
    assert (result["received"], result["sent"], result["dropped"]) == (len(sizes(mtu)), len(sizes(mtu)), 0)


@pytest.mark.parametrize("system", ["linux", "linux-batch"])
def test_kernel_system_passes_on_any_size(mtu: int, tmp_path: Path, system: str) -> None:
    with forwarder(system, tmp_path, LARGEST) as workload:
        check_passes_on(workload, mtu)


@pytest.mark.parametrize("backend", ["xdp", "packet"])
@pytest.mark.parametrize("system", ["copy", "shipping"])
def test_our_stack_passes_on_any_size(mtu: int, tmp_path: Path, system: str, backend: str) -> None:
    path = tmp_path / "manager"
    with manager(backend, path, mtu=mtu) as host:
        with forwarder(system, path, LARGEST) as workload:
            check_passes_on(workload, mtu)
        wait_until(lambda: host.counters()["containers_owned"] == 0, "all containers to be back")
        wait_until(lambda: host.counters()["containers_sending"] == 0, "all to have left")
        after = host.counters()
        dropped = {name: n for name, n in after.items() if name.startswith("drop_") and n}
        assert set(dropped) <= CHATTER
        large = [size for size in sizes(mtu) if size + HEADERS > mtu]
        most = (mtu - 20) // 8 * 8
        assert after["fragments_out"] >= sum(-(-(size + 8) // most) for size in large)
        assert after["fragments_in"] > len(large)


@pytest.mark.parametrize("backend", ["xdp", "packet"])
def test_a_message_is_its_fragments_pages_and_any_parts_make_a_datagram(
    mtu: int, tmp_path: Path, backend: str
) -> None:
    chance = random.Random(1)
    with (
        manager(backend, tmp_path / "manager", mtu=mtu),
        attach(tmp_path / "manager") as host,
        kernel_socket("10.98.0.1", 5000) as them,
    ):
        endpoint = host.open_udp(("10.98.0.2", 9000), ("10.98.0.1", 5000), queue=128, timeout=SOON)
        them.connect(("10.98.0.2", 9000))
        for size in (mtu, 20000, LARGEST):
            them.send(pattern(size))
            containers = endpoint.read(LARGEST, 128, map=True)
            assert len(containers) >= -(-(size + 8) // (mtu - 20))
            assert all(container.size == PAGE for container in containers)
            assert payload(containers) == pattern(size)
            endpoint.write(containers)
            assert them.recv(65536) == pattern(size)
        for count in (1, 2, 16, 17, 100, 128):
            parts, data = [], b""
            for number in range(count):
                container = host.alloc(chance.randrange(1, 5 * PAGE if count < 10 else 500))
                offset = chance.randrange(container.size)
                room = container.size - offset
                length = chance.randrange(room) if count < 10 else min(507, room)
                container.window(offset, length)
                container.view()[:] = bytes((number + i) % 256 for i in range(length))
                data += bytes(container.view())
                parts.append(container)
            endpoint.write(parts)
            assert them.recv(65536) == data, f"{count} containers"


@pytest.mark.parametrize("system", ["copy", "shipping"])
def test_source_and_sink_work_at_the_largest_size(mtu: int, tmp_path: Path, system: str) -> None:
    path = tmp_path / "manager"
    params = {"flow": 3, "size": LARGEST, "queue_datagrams": 128, "manager_socket": str(path)}
    to_us = params | {"local": "10.98.0.2:9000"}
    from_us = params | {"local": "10.98.0.2:9001", "remote": "10.98.0.1:5000"}
    with (
        manager("auto", path, mtu=mtu),
        kernel_socket("10.98.0.1", 5000) as them,
        Workload("sink", system, to_us) as sink,
    ):
        with Workload("source", system, from_us | {"rate_mbps": 100, "duration_s": 0.1}) as source:
            sent = source.hear()["result"]["sent"]
        assert sent > 10
        for number in range(sent):
            data = them.recv(65536)
            assert len(data) == LARGEST
            them.sendto(data, ("10.98.0.2", 9000))
            counted = functools.partial(has_counted, sink, number + 1)
            wait_until(counted, f"the sink to count datagram {number}")
        sink.tell(command="expect", count=sent)
        result = sink.hear()["result"]
        assert (result["received"], result["unique"], result["lost"]) == (sent, sent, 0)
        assert result["bytes"] == sent * LARGEST
