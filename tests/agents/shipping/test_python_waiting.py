"""Waiting for messages from Python: blocking, polling, asyncio; other threads, signals, the manager's end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import select
import signal
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from agents.shipping import Attachment, Endpoint, attach
from tests.agents.shipping.api_host import ALL, OURS, SOON, THEIRS, payload
from tests.agents.shipping.test_systems import Workload, kernel_socket, manager
from tests.support import wait_until

pytestmark = pytest.mark.root


class Interrupt(Exception):
    """What a signal's handler raises."""


def test_nothing_to_read(host: Attachment) -> None:
    endpoint = host.open_udp(OURS, THEIRS, queue=64, timeout=0.02)
    with pytest.raises(BlockingIOError, match=r"read from UDP 10\.98\.0\.2:9000"):
        endpoint.read(ALL, 1, wait=False)
    with pytest.raises(TimeoutError, match="time-out"):
        endpoint.read(ALL, 1)


def echo(peer: socket.socket, rounds: int, trouble: list[BaseException]) -> None:
    """Sends a datagram and waits until it is back, many times."""
    try:
        for number in range(rounds):
            peer.send(number.to_bytes(4))
            assert int.from_bytes(peer.recv(ALL)) == number
    except BaseException as error:
        trouble.append(error)


def test_other_threads_run_while_one_waits(endpoint: Endpoint, them: socket.socket) -> None:
    trouble: list[BaseException] = []
    thread = threading.Thread(target=echo, args=[them, 300, trouble])
    thread.start()
    for _ in range(300):
        endpoint.write(endpoint.read(ALL, 1))
    thread.join()
    assert not trouble


def test_a_second_thread_is_refused_while_one_waits(
    host: Attachment, endpoint: Endpoint, them: socket.socket
) -> None:
    taken: list[bytes] = []

    def take() -> None:
        while not taken:
            with contextlib.suppress(RuntimeError):  # we may be in a call just then
                taken.append(payload(endpoint.read(ALL, 1)))

    def refused() -> bool:
        try:
            endpoint.read(ALL, 1000, wait=False)  # more than the other one reads
        except BlockingIOError:
            return False
        except RuntimeError as error:
            return "another thread" in str(error)
        return False

    thread = threading.Thread(target=take)
    thread.start()
    try:
        wait_until(refused, "the other thread to wait in a call")
    finally:
        them.send(b"go")
        thread.join()
    assert taken == [b"go"]


@contextlib.contextmanager
def signalled(seconds: float) -> Iterator[None]:
    """This process gets a signal then, most likely while it waits."""
    timer = threading.Timer(seconds, os.kill, [os.getpid(), signal.SIGUSR1])
    timer.start()
    try:
        yield
    finally:
        timer.join()


def test_a_signal_is_handled_while_a_read_waits(endpoint: Endpoint, them: socket.socket) -> None:
    before = signal.signal(signal.SIGUSR1, lambda *_: them.send(b"from the handler") and None)
    try:
        with signalled(0.05):
            assert payload(endpoint.read(ALL, 1)) == b"from the handler"

        def interrupt(*_: object) -> None:
            raise Interrupt

        signal.signal(signal.SIGUSR1, interrupt)
        with pytest.raises(Interrupt), signalled(0.05):
            endpoint.read(ALL, 1)
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("kind", ["poll", "epoll", "select"])
def test_an_endpoint_can_be_polled(endpoint: Endpoint, them: socket.socket, kind: str) -> None:
    def told(seconds: float) -> bool:
        if kind == "select":
            return bool(select.select([endpoint], [], [], seconds)[0])
        poller = select.poll() if kind == "poll" else select.epoll()
        poller.register(endpoint, select.POLLIN)
        return bool(poller.poll(seconds * (1000 if kind == "poll" else 1)))

    for _ in range(100):
        assert not endpoint.ready()
        assert not told(0)
        them.send(b"x")
        assert told(SOON)
        assert endpoint.ready()
        assert payload(endpoint.read(ALL, 1, wait=False)) == b"x"


async def test_tasks_read_without_a_lost_wakeup(endpoint: Endpoint, them: socket.socket) -> None:
    trouble: list[BaseException] = []
    thread = threading.Thread(target=echo, args=[them, 1000, trouble])
    thread.start()
    async with asyncio.timeout(SOON):
        for _ in range(1000):
            endpoint.write(await endpoint.read_async(ALL, 1))
    await asyncio.to_thread(thread.join)
    assert not trouble


async def test_tasks_of_several_endpoints_wait_side_by_side(host: Attachment, them: socket.socket) -> None:
    endpoints = [host.open_udp((OURS[0], 9000 + i), THEIRS, queue=64) for i in range(3)]
    readers = [asyncio.create_task(endpoint.read_async(ALL, 1)) for endpoint in endpoints]
    await asyncio.sleep(0)  # each has looked and found nothing
    with kernel_socket(THEIRS[0], 0) as stranger:  # not the remote of any
        stranger.sendto(b"not for you", OURS)
    them.connect((OURS[0], 9002))
    them.send(b"for the last")
    async with asyncio.timeout(SOON):
        assert payload(await readers[2]) == b"for the last"
    assert not any(reader.done() for reader in readers[:2])
    for reader in readers[:2]:
        reader.cancel()
    await asyncio.gather(*readers[:2], return_exceptions=True)


async def test_a_cancelled_read_takes_nothing(endpoint: Endpoint, them: socket.socket) -> None:
    reader = asyncio.create_task(endpoint.read_async(ALL, 1))
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="another task"):
        await endpoint.read_async(ALL, 1)
    them.send(b"kept")
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    async with asyncio.timeout(SOON):
        assert payload(await endpoint.read_async(ALL, 1)) == b"kept"


async def test_closing_ends_a_read(endpoint: Endpoint) -> None:
    reader = asyncio.create_task(endpoint.read_async(ALL, 1))
    await asyncio.sleep(0)
    endpoint.close()
    with pytest.raises(OSError, match="closed") as caught:
        async with asyncio.timeout(SOON):
            await reader
    assert caught.value.errno == errno.EBADF
    assert endpoint.fileno() == -1
    endpoint.close()


@pytest.fixture
async def dying(links: None, tmp_path: Path) -> AsyncIterator[tuple[Endpoint, Workload]]:
    """An endpoint of a manager that a test may kill. Its interfaces are also the other manager's: no data."""
    with manager("packet", tmp_path / "dying") as process, attach(tmp_path / "dying") as host:
        yield host.open_udp(OURS, THEIRS, queue=64, timeout=SOON), process


async def test_the_managers_end_is_noticed(dying: tuple[Endpoint, Workload]) -> None:
    endpoint, process = dying
    reader = asyncio.create_task(endpoint.read_async(ALL, 1))
    await asyncio.sleep(0)
    process.process.kill()
    with pytest.raises(BrokenPipeError, match="manager has gone"):
        async with asyncio.timeout(SOON):
            await reader
    assert select.select([endpoint], [], [], 0)[0]
    for use in (endpoint.ready, lambda: endpoint.read(ALL, 1)):
        with pytest.raises(BrokenPipeError):
            use()
