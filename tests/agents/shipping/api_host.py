"""A host with a real manager, this process attached to it, and the kernel's UDP at the end of its link."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.shipping import Attachment, Container, Endpoint, attach
from tests.agents.shipping.test_systems import Workload, kernel_socket, links, manager
from tests.support import wait_until

__all__ = ["endpoint", "host", "links", "served", "them"]  # the fixtures

OURS, THEIRS = ("10.98.0.2", 9000), ("10.98.0.1", 5000)
ALL = 65507
SOON = 60.0
Host = tuple[Path, Workload]


def pattern(size: int) -> bytes:
    return bytes((i * 7 + i // 251 + size) % 256 for i in range(size))


@pytest.fixture(scope="module")
def served(links: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    path = tmp_path_factory.mktemp("host") / "manager"
    with manager("auto", path) as made:
        yield path, made


@pytest.fixture
def host(served: Host) -> Iterator[Attachment]:
    path, process = served
    with attach(path) as made:
        yield made
    wait_until(lambda: process.counters()["containers_owned"] == 0, "the manager to have all back")
    states = process.counters()
    assert states["pages_following"] == 0


@pytest.fixture
def endpoint(host: Attachment) -> Endpoint:
    return host.open_udp(OURS, THEIRS, queue=64, timeout=SOON)


@pytest.fixture
def them() -> Iterator[socket.socket]:
    with kernel_socket(*THEIRS) as made:
        made.connect(OURS)
        yield made


def payload(containers: list[Container]) -> bytes:
    return b"".join(bytes(container.view()) for container in containers)


def fill(container: Container, data: bytes) -> Container:
    container.window(container.offset, len(data))
    container.view()[:] = data
    return container
