"""Files from Python: copied, changed on the way in the pages themselves, and what is refused."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from agents.shipping import Attachment, Container, attach
from tests.agents.shipping.api_host import SOON, Host, pattern
from tests.support import wait_until

pytestmark = pytest.mark.root

WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
SIZE = 300_001


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


def test_a_full_disk_is_told_at_the_latest_by_close(host: Attachment, tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(tmp_path)], check=True)
    try:
        target = host.open_file(tmp_path / "target", WRITE, timeout=SOON)
        container: Container | None = None
        with pytest.raises(OSError, match="No space left") as full:
            for _ in range(1000):
                container = host.alloc(65536)
                target.write([container])
            target.close()
        assert full.value.errno == errno.ENOSPC
        if container is not None and container.owned:  # the write that was told keeps its container
            container.free()
            with pytest.raises(OSError, match="No space left"):
                target.close()
        target.close()  # it is
    finally:
        unmount = ["umount", str(tmp_path)]  # the manager closes its descriptor a moment later
        wait_until(lambda: subprocess.run(unmount).returncode == 0, "the file system to be unused")


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
