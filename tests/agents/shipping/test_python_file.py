"""Files from Python: copied, changed on the way in the pages themselves, and what is refused."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from agents.shipping import Attachment, attach
from tests.agents.shipping.api_host import SOON, Host, pattern

pytestmark = pytest.mark.root

WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
SIZE = 300_001


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(tmp_path)], check=True)
    yield tmp_path
    # lazily: the manager closes its descriptors a moment later
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(pattern(SIZE))
    return path


def test_a_file_is_copied(host: Attachment, source: Path) -> None:
    target = source.with_name("target")
    with host.open_file(source, timeout=SOON) as src, host.open_file(target, WRITE, timeout=SOON) as dst:
        while containers := src.read(8192, max_containers=1):
            dst.write(containers)
    assert target.read_bytes() == source.read_bytes()


def test_bytes_are_changed_where_they_are(host: Attachment, source: Path) -> None:
    target = source.with_name("target")
    with source.open("rb") as opened, target.open("wb") as made:
        opened.seek(100)
        with (
            host.open_file(opened.fileno(), timeout=SOON) as src,
            host.open_file(made.fileno(), os.O_WRONLY, timeout=SOON) as dst,
        ):
            while containers := src.read(65536, max_containers=1, map=True):
                for container in containers:
                    numbers = np.asarray(container.view())
                    numbers ^= 255
                    del numbers
                dst.write(containers)
        assert opened.tell() == 100
    assert target.read_bytes() == bytes(byte ^ 255 for byte in source.read_bytes()[100:])


async def test_a_task_waits_for_the_disk(host: Attachment, source: Path) -> None:
    read = b""
    with host.open_file(source) as src:
        while containers := await asyncio.wait_for(src.read_async(40_000, max_containers=1, map=True), SOON):
            for container in containers:
                read += bytes(container.view())
                container.free()
    assert read == pattern(SIZE)


def test_a_full_disk_is_told_at_the_latest_by_close(host: Attachment, small_disk: Path) -> None:
    target = host.open_file(small_disk / "target", WRITE, timeout=SOON)
    container = host.alloc(131_072)
    target.write([container])
    with pytest.raises(OSError, match="no space left") as full:
        target.close()
    assert full.value.errno == errno.ENOSPC
    target.close()  # it is


def test_a_full_disk_is_told_to_a_later_write(host: Attachment, small_disk: Path) -> None:
    with (
        pytest.raises(OSError, match="no space left"),
        host.open_file(small_disk / "target", WRITE) as target,
    ):
        target.write([host.alloc(131_072)])
        with pytest.raises(OSError, match="no space left"):
            while True:
                with host.alloc(1) as container:  # the write that is told keeps its container
                    target.write([container])


def test_detaching_tells_what_could_not_be_written(served: Host, small_disk: Path) -> None:
    with pytest.raises(OSError, match="no space left"), attach(served[0]) as host:
        host.open_file(small_disk / "target", WRITE, timeout=SOON).write([host.alloc(131_072)])
    with attach(served[0]):  # it was detached all the same
        pass


def test_what_cannot_be_opened_says_why(host: Attachment, source: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no-such"):
        host.open_file(source.with_name("no-such"))
    with pytest.raises(IsADirectoryError):
        host.open_file(source.parent)
    with pytest.raises(OSError, match="/dev/zero: it is no regular file"):
        host.open_file("/dev/zero")
    for flags in (os.O_RDWR, os.O_WRONLY | os.O_APPEND):
        with pytest.raises(ValueError, match="O_RDONLY or O_WRONLY expected"):
            host.open_file(source, flags)
    with pytest.raises(ValueError, match="null byte"):
        host.open_file("a\0b")
    with (
        host.open_file(source) as src,
        pytest.raises(OSError, match="not open for that"),
        host.alloc(1) as one,
    ):
        src.write([one])


def test_a_detached_process_opens_nothing(served: Host, tmp_path: Path) -> None:
    with attach(served[0]) as host:
        pass
    with pytest.raises(OSError, match="not attached"):
        host.open_file(tmp_path / "target", WRITE)
    assert not (tmp_path / "target").exists()
