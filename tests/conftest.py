"""For every test: root tests are skipped where they cannot run, and the machine is left as it was found."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.doctor import capability
from tests.support import wait_until

NEEDED_CAPABILITIES = ("NET_ADMIN", "NET_RAW", "SYS_ADMIN")


def why_not_root() -> str | None:
    """Why this process cannot build labs, or None if it can."""
    if os.geteuid() != 0:
        return "needs root"
    missing = []
    for name in NEEDED_CAPABILITIES:
        try:
            capability(name)
        except OSError:
            missing.append(name)
    return f"needs the capabilities {', '.join(missing)}" if missing else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = why_not_root()
    if reason is None:
        return
    for item in items:
        if item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason=reason))


def labs_remains() -> set[str]:
    """Everything on this machine that only a lab, an agent or a stack can have made, each with its place."""
    places = {
        "namespace": Path("/run/netns").glob("transship-*"),
        "run directory": (path for path in Path("/run/transship").glob("*") if path.is_dir()),
        "cgroup (v1)": Path("/sys/fs/cgroup").glob("*/transship/*/"),
        "cgroup (v2)": Path("/sys/fs/cgroup").glob("transship/*/"),
        "shared memory": Path("/dev/shm").glob("transship*"),
    }
    return {f"{kind} {path}" for kind, paths in places.items() for path in paths} | set(agent_processes())


def agent_processes() -> Iterator[str]:
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            command = (directory / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it has ended meanwhile
            continue
        if b"-m" in command[:4] and any(word.startswith(b"agents.") for word in command[:5]):
            yield f"process {directory.name} ({b' '.join(command).decode(errors='replace').strip()})"


@pytest.fixture(scope="session", autouse=True)
def machine_as_before() -> Iterator[None]:
    """Fails the session if it leaves behind what was not there when it began."""
    before = labs_remains()
    yield
    try:
        wait_until(lambda: labs_remains() <= before, "the labs of this session to be gone", seconds=5)
    except AssertionError:
        left = sorted(labs_remains() - before)
        pytest.fail("\n  ".join(["left by these tests, or by others meanwhile:", *left]), pytrace=False)
