"""The six calls from Python: what a container is, who may use it, what goes wrong and how it is said."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.processes import REPOSITORY
from agents.shipping import Attachment, Endpoint, OwnershipError, attach
from tests.agents.shipping.api_host import ALL, OURS, SOON, THEIRS, Host, fill, pattern, payload
from tests.agents.shipping.test_systems import kernel_socket
from tests.support import eventually

pytestmark = pytest.mark.root

PAGE = 4096
Use = Callable[[], object]


# Reading and writing


@pytest.mark.parametrize("size", [0, 1, 1472, 4300, 7000])
@pytest.mark.parametrize("map", [False, True])
def test_a_message_arrives_and_goes_back_unchanged(
    endpoint: Endpoint, them: socket.socket, size: int, map: bool
) -> None:
    them.send(pattern(size))
    containers = endpoint.read(ALL, 8, map=map)
    assert sum(container.length for container in containers) == size
    for container in containers:
        assert container.size % PAGE == 0
        assert container.offset + container.length <= container.size
    if map:  # else it crosses us unseen
        assert payload(containers) == pattern(size)
    endpoint.write(containers)
    assert them.recv(ALL) == pattern(size)


def test_a_long_message_is_several_containers(endpoint: Endpoint, them: socket.socket) -> None:
    them.send(pattern(7000))
    containers = endpoint.read(ALL, 8)
    assert len(containers) > 1
    assert len({container.cid for container in containers}) == len(containers)
    assert payload(containers) == pattern(7000)


def test_a_read_is_cut_to_size_and_containers(endpoint: Endpoint, them: socket.socket) -> None:
    for _ in range(2):
        them.send(pattern(7000))
    them.send(b"next")
    assert payload(endpoint.read(100, 8)) == pattern(7000)[:100]
    (first,) = endpoint.read(ALL, 1)
    assert 0 < first.length < 7000
    assert payload([first]) == pattern(7000)[: first.length]
    assert payload(endpoint.read(ALL, 8)) == b"next"  # the rest of a message is not the next one


def test_a_message_is_gathered_from_windows(
    host: Attachment, endpoint: Endpoint, them: socket.socket
) -> None:
    head, body = host.alloc(100, map=True), host.alloc(6000)
    assert (head.offset, head.length, head.size) == (0, 100, PAGE)
    assert (body.offset, body.length, body.size) == (0, 6000, 2 * PAGE)
    head.window(64, 5)
    fill(head, b"head ")
    fill(body, pattern(6000))
    body.window(4000, 1500)  # across its pages
    endpoint.write([head, body])
    assert them.recv(ALL) == b"head " + pattern(6000)[4000:5500]


def test_a_window_stays_inside(host: Attachment) -> None:
    with host.alloc(10) as container:
        for offset, length in ((-1, 5), (0, -1), (0, PAGE + 1), (PAGE, 1)):
            with pytest.raises(ValueError, match="of a container that has 0 to 4096"):
                container.window(offset, length)
        container.window(PAGE, 0)
        assert len(container.view()) == 0


# Memory


def test_views_and_arrays_are_the_containers_bytes(host: Attachment) -> None:
    with host.alloc(1000) as container:
        container.window(16, 1000)
        array = np.frombuffer(container.view(), np.uint8)
        assert (array.size, array.flags.owndata, array.flags.writeable) == (1000, False, True)
        array[:] = np.arange(1000) % 256
        assert container.view()[999] == 999 % 256
        container.window(17, 10)
        assert bytes(container.view()) == bytes(range(1, 11))
        assert np.shares_memory(array, np.asarray(container.view()))
        del array


def test_a_view_is_the_same_until_it_is_released(host: Attachment) -> None:
    with host.alloc(10) as container:
        with container.view() as view:
            assert container.view() is view
        with pytest.raises(ValueError, match="released"):
            view[0] = 1
        container.view()[0] = 1


@pytest.mark.parametrize("reach", ["array", "slice", "moved window"])
def test_memory_that_is_in_use_is_neither_given_nor_freed(
    host: Attachment, endpoint: Endpoint, them: socket.socket, reach: str
) -> None:
    container = fill(host.alloc(10), b"0123456789")
    held: Any
    if reach == "array":
        held = np.frombuffer(container.view(), np.uint8)
    elif reach == "slice":
        held = container.view()[2:4]
    else:
        held = container.view()
        container.window(0, 5)
    uses: list[Use] = [lambda: endpoint.write([container]), container.free, container.unmap, host.close]
    for use in uses:
        with pytest.raises(BufferError, match="still exist"):
            use()
        held[0] = ord("x")  # it is ours: nothing was given
    del held
    endpoint.write([container])
    expected = {"array": b"x123456789", "slice": b"01x3456789", "moved window": b"x1234"}
    assert them.recv(ALL) == expected[reach]


def test_an_unmapped_container_is_mapped_again(host: Attachment) -> None:
    container = fill(host.alloc(10), b"0123456789")
    old = container.view()
    container.unmap()
    with pytest.raises(ValueError, match="released"):
        old[0] = 1
    assert bytes(container.view()) == b"0123456789"


# Ownership


@pytest.mark.parametrize("how", ["written", "freed", "detached"])
def test_what_is_gone_cannot_be_used(host: Attachment, endpoint: Endpoint, how: str) -> None:
    container, other = host.alloc(10, map=True), host.alloc(10)
    view, cid = container.view(), container.cid
    if how == "written":
        endpoint.write([container])
    elif how == "freed":
        container.free()
        assert host.alloc(10).cid == cid  # recycled: the same identifier is no longer this object's
    else:
        host.close()
    assert not container.owned
    with pytest.raises(ValueError, match="released"):
        view[0] = 1
    uses: list[Use] = [
        container.view,
        container.free,
        container.unmap,
        lambda: container.cid,
        lambda: container.window(0, 1),
        lambda: endpoint.write([other, container]),
    ]
    for use in uses:
        with pytest.raises(OwnershipError) as caught:
            use()
        assert caught.value.errno == errno.EPERM
    assert other.owned == (how != "detached")  # it was in a message that was refused


def test_a_container_is_freed_at_the_end_of_its_block(host: Attachment, endpoint: Endpoint) -> None:
    with host.alloc(10) as kept:
        pass
    assert not kept.owned
    with host.alloc(10) as given:
        endpoint.write([given])
    with host.alloc(3 * PAGE) as freed:
        freed.free()


def test_a_write_that_fails_gives_the_containers_back(host: Attachment, them: socket.socket) -> None:
    deaf = host.open_udp(OURS, None, queue=64)
    container = fill(host.alloc(10), b"0123456789")
    with pytest.raises(OSError, match="opened without a remote address") as caught:
        deaf.write([container])
    assert caught.value.errno == errno.EDESTADDRREQ
    assert bytes(container.view()) == b"0123456789"
    deaf.close()
    endpoint = host.open_udp(OURS, THEIRS, queue=64)
    for wrong in ([], [container, container]):
        with pytest.raises(OSError) as caught:
            endpoint.write(wrong)
        assert caught.value.errno == errno.EINVAL
    endpoint.write([container])
    assert them.recv(ALL) == b"0123456789"


def test_a_full_network_holds_the_writer_back_and_it_keeps_its_container(host: Attachment) -> None:
    nobody = ("10.98.0.77", 9)  # does not answer ARP: what is written waits
    endpoint = host.open_udp(("10.98.0.2", 0), nobody, queue=16, timeout=0.01)
    for wait, error in ((False, BlockingIOError), (True, TimeoutError)):
        container = host.alloc(10)
        with pytest.raises(error):
            while True:
                endpoint.write([container], wait=wait)
                container = host.alloc(10)
        assert container.owned


# Attaching


def test_a_process_attaches_once_and_again_after_it_detached(served: Host, host: Attachment) -> None:
    path, _ = served
    with pytest.raises(OSError, match="attached already") as caught:
        attach(path)
    assert caught.value.errno == errno.EISCONN
    stale = host.open_udp(OURS, THEIRS, queue=64)
    host.close()
    host.close()
    with attach(path) as again:
        with pytest.raises(OSError, match="closed"):
            stale.read(ALL, 1)
        for use in (lambda: host.alloc(1), lambda: host.open_udp(OURS, THEIRS, queue=64)):
            with pytest.raises(OSError, match="not attached"):
                use()
        assert again.alloc(1).owned


def test_where_nobody_serves(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"attach to .*nobody"):
        attach(tmp_path / "nobody")
    with pytest.raises(ValueError, match="null byte"):
        attach("a\0b")


@pytest.mark.parametrize(
    ("local", "remote", "queue", "code"),
    [
        (("10.98.0.9", 1), THEIRS, 64, errno.EADDRNOTAVAIL),
        (OURS, ("192.168.7.7", 1), 64, errno.ENETUNREACH),
        (OURS, (THEIRS[0], 0), 64, errno.EINVAL),
        (OURS, THEIRS, 0, errno.EINVAL),
        ((OURS[0], 9001), THEIRS, 64, errno.EADDRINUSE),
    ],
)
def test_impossible_endpoints(
    host: Attachment, local: tuple[str, int], remote: tuple[str, int], queue: int, code: int
) -> None:
    host.open_udp((OURS[0], 9001), None, queue=64)
    with pytest.raises(OSError, match="open UDP 10") as caught:
        host.open_udp(local, remote, queue)
    assert (caught.value.errno, len(str(caught.value).splitlines())) == (code, 1)


def test_impossible_arguments(host: Attachment, endpoint: Endpoint) -> None:
    for address in (("10.98.0.2", 65536), ("not an address", 1)):
        with pytest.raises(ValueError):
            host.open_udp(address, None, queue=64)
    with pytest.raises(ValueError, match="time-out"):
        host.open_udp(OURS, None, queue=64, timeout=-1)
    for size in (0, -1, 1 << 30):
        with pytest.raises(OSError):
            host.alloc(size)
    with pytest.raises(OSError) as caught:
        endpoint.read(ALL, 0)
    assert caught.value.errno == errno.EINVAL


# The documentation


@pytest.fixture
def names() -> dict[str, Any]:
    """What the examples of the documentation define."""
    page = (REPOSITORY / "docs/python-api.md").read_text()
    defined: dict[str, Any] = {"__name__": "example"}
    for example in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(example, "docs/python-api.md", "exec"), defined)
    return defined


def test_the_frame_buffer_of_the_documentation_shows_grey(served: Host, names: dict[str, Any]) -> None:
    assert names["show_grey"](os.fspath(served[0])) == b"\x80" * 1264 * 960


async def test_the_example_of_the_documentation_works(served: Host, names: dict[str, Any]) -> None:
    path, process = served
    task = asyncio.create_task(names["brighten"](os.fspath(path), (OURS[0], 9555), THEIRS, 20))
    await eventually(lambda: "ring_udp9555_backlog" in process.counters(), "the example to listen")
    with kernel_socket(*THEIRS) as them:
        for number in range(20):
            them.sendto(pattern(300 * number), (OURS[0], 9555))
        async with asyncio.timeout(SOON):
            await task
        for number in range(20):
            assert them.recv(ALL) == bytes((byte + 1) % 256 for byte in pattern(300 * number))
