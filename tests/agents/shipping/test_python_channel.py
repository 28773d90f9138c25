"""Local channels from Python: large containers between two processes, the end, and what is refused."""

from __future__ import annotations

import asyncio
import errno
import subprocess
import sys

import numpy as np
import pytest

from agents.processes import REPOSITORY
from agents.shipping import Attachment, Endpoint
from tests.agents.shipping.api_host import SOON, Host

pytestmark = pytest.mark.root

SIZE = 128 * 1024

# Doubles every number that comes in, in place, until the other end closes.
PEER = """
import sys
import numpy as np
from agents.shipping import attach
with attach(sys.argv[1]) as host, host.open_channel("numbers", queue=16, timeout=60) as end:
    while containers := end.read(1 << 20, max_containers=4, map=True):
        for container in containers:
            numbers = np.asarray(container.view()).view(np.uint32)
            numbers *= 2
            del numbers
        end.write(containers)
"""


@pytest.fixture
def end(host: Attachment) -> Endpoint:
    return host.open_channel("numbers", queue=16, timeout=SOON)


def test_numbers_go_to_another_process_and_come_back_in_the_same_pages(
    served: Host, host: Attachment, end: Endpoint
) -> None:
    peer = subprocess.Popen([sys.executable, "-c", PEER, str(served[0])], cwd=REPOSITORY)
    try:
        for turn in range(40):  # more than the queue holds
            container = host.alloc(SIZE, map=True)
            np.asarray(container.view()).view(np.uint32)[:] = np.arange(SIZE // 4) + turn
            end.write([container])
            (back,) = end.read(SIZE, max_containers=1, map=True)
            assert (np.asarray(back.view()).view(np.uint32) == (np.arange(SIZE // 4) + turn) * 2).all()
            back.free()
        end.close()
        assert peer.wait(SOON) == 0
    finally:
        peer.kill()
        peer.wait()


def test_what_a_read_leaves_comes_with_the_next(host: Attachment, end: Endpoint) -> None:
    with host.open_channel("numbers", queue=16) as other:
        container = host.alloc(2 * 4096, map=True)
        container.view()[:] = b"a" * 4096 + b"b" * 4096
        other.write([container])
        for letter in (b"a", b"b"):
            (part,) = end.read(4096, max_containers=1, map=True)
            assert bytes(part.view()) == letter * 4096
            part.free()


async def test_a_task_waits_for_a_message_and_for_the_end(host: Attachment, end: Endpoint) -> None:
    other = host.open_channel("numbers", queue=16)
    reading = asyncio.ensure_future(end.read_async(SIZE, max_containers=1))
    await asyncio.sleep(0)  # it runs until it waits
    assert not reading.done()
    other.write([host.alloc(SIZE)])
    (container,) = await asyncio.wait_for(reading, SOON)
    assert container.length == SIZE
    container.free()
    other.close()
    assert await asyncio.wait_for(end.read_async(SIZE, max_containers=1), SOON) == []
    with pytest.raises(BrokenPipeError), host.alloc(1) as unsent:
        end.write([unsent])


def test_a_channel_has_two_ends(host: Attachment, end: Endpoint) -> None:
    with host.open_channel("numbers", queue=16), pytest.raises(OSError) as refused:
        host.open_channel("numbers", queue=16)
    assert refused.value.errno == errno.EADDRINUSE


@pytest.mark.parametrize("name", ["", "x" * 64, "a\0b"])
def test_a_name_that_cannot_be_is_refused(host: Attachment, name: str) -> None:
    with pytest.raises(ValueError, match="1 to 63 bytes expected"):
        host.open_channel(name, queue=16)
