"""The copier workload: Figure 2's cp in a process of its own, beside the conventional one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.agents.shipping.api_host import SOON, Host
from tests.agents.shipping.test_systems import Workload

pytestmark = pytest.mark.root

SYSTEMS = ("linux", "shipping")


def copy(system: str, served: Host, source: Path, target: Path, **more: Any) -> dict[str, Any]:
    params = {"source": str(source), "target": str(target), "manager_socket": str(served[0])} | more
    with Workload("copier", system, params) as copier:
        event = copier.hear()
        assert event["event"] == "done", event
        assert copier.process.wait(SOON) == 0
    result: dict[str, Any] = event["result"]
    return result


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize(
    ("size", "operations"), [(0, 0), (1, 1), (131_072, 1), (131_073, 2), (5_000_000, 39)]
)
def test_a_copy_is_the_same(system: str, size: int, operations: int, served: Host, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(size))
    target.write_bytes(b"what was there before" * 1000)
    result = copy(system, served, source, target)
    assert target.read_bytes() == source.read_bytes()
    assert (result["bytes"], result["operations"]) == (size, operations)
    assert 0 < result["t0_ns"] <= result["t1_ns"] <= result["synced_ns"]
    assert result["engine"] in (["read/write"] if system == "linux" else ["io_uring", "threads"])
    assert result["direct"] is False or system == "shipping"


def test_the_operation_is_as_large_as_asked(served: Host, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(bytes(81_920))
    for system in SYSTEMS:
        result = copy(system, served, tmp_path / "source", tmp_path / "target", operation_bytes=8192)
        assert result["operations"] == 10


def test_nothing_of_the_pool_is_left_with_the_manager(served: Host, tmp_path: Path) -> None:
    before = served[1].counters()
    (tmp_path / "source").write_bytes(bytes(3_000_000))
    copy("shipping", served, tmp_path / "source", tmp_path / "target")
    after = served[1].counters()
    for state in ("containers_owned", "containers_sending", "pages_following"):
        assert after[state] == 0, state
    assert after["file_bytes_in"] - before["file_bytes_in"] == 3_000_000
    assert after["file_bytes_out"] - before["file_bytes_out"] == 3_000_000
    assert after["file_errors"] == before["file_errors"]
