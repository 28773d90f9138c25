"""For every test: root tests are skipped where they cannot run, and the machine is left as it was found."""

import contextlib
import os
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from orchestrator.doctor import capability
from tests.support import LIMIT_S, PATIENCE_S, wait_until

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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Fails a test that hangs, wherever: in a read without a time limit, in a loop."""

    def late(*_: object) -> None:
        pytest.fail(f"it has taken more than {LIMIT_S:g} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, LIMIT_S, PATIENCE_S)  # and again, should its cleaning up hang too
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def remains() -> set[str]:
    """Everything of this user on this machine that only a lab, an agent or a stack can have made."""
    places = {
        "namespace": Path("/run/netns").glob("transship-*"),
        "run directory": (path for path in Path("/run/transship").glob("*") if path.is_dir()),
        "cgroup (v1)": Path("/sys/fs/cgroup").glob("*/transship/*/"),
        "cgroup (v2)": Path("/sys/fs/cgroup").glob("transship/*/"),
        "shared memory": Path("/dev/shm").glob("transship*"),
    }
    found = {f"{kind} {path}" for kind, paths in places.items() for path in paths if is_ours(path)}
    return found | set(agent_processes())


def is_ours(path: Path) -> bool:
    try:
        return path.stat().st_uid == os.geteuid()
    except OSError:  # it has gone meanwhile
        return False


def agent_processes() -> Iterator[str]:
    """Agents and the like that these tests have started, or that lost who started them."""
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            command = (directory / "cmdline").read_bytes().split(b"\0")
            parent = int((directory / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended meanwhile
            continue
        ours = command[0] == sys.executable.encode() and parent in (1, os.getpid())
        if ours and any(word.startswith((b"agents.", b"orchestrator.")) for word in command[1:5]):
            yield f"process {directory.name} ({b' '.join(command).decode(errors='replace').strip()})"


@pytest.fixture(scope="session", autouse=True)
def machine_as_before() -> Iterator[None]:
    """Fails the session if it leaves behind what was not there when it began."""
    before = remains()
    yield
    with contextlib.suppress(AssertionError):
        wait_until(lambda: remains() <= before, "what is on its way out to be gone", seconds=30)
    if left := remains() - before:
        pytest.fail(
            "\n  ".join(["left by these tests or meanwhile by others:", *sorted(left)]), pytrace=False
        )
