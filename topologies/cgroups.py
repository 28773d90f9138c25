"""A host's control groups, on cgroup v1 and v2 behind one class.

The tree of a host is `transship/<lab>/<host>/` with `agent/` (the host agent, never limited) and `work/` (the
CPU budget), and under `work/` the groups that compete with equal weight: `io/` for every process of the I/O
path under test and `hog-1/`, `hog-2/`, ... for one hog each. So two I/O processes together win one share.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TREE = "transship"
MIN_QUOTA_US = 1000
MAX_PERIOD_US = 1_000_000
_CONTROLLERS = ("cpu", "cpuacct", "cpuset")
_GONE = (errno.ENOENT, errno.ENODEV)
_KILL_SECONDS = 10.0


class CgroupError(RuntimeError):
    """A control group could not be made, changed or removed; the message says which and why."""


class CgroupFiles:
    """The file operations that control groups need; tests put a fake kernel here."""

    def make(self, group: Path) -> None:
        """Make a group; FileExistsError when it exists."""
        os.mkdir(group, 0o755)

    def remove(self, group: Path) -> None:
        """Remove a group without children or processes."""
        os.rmdir(group)

    def read(self, file: Path) -> str:
        """The text of a control file."""
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(descriptor, 1 << 16).decode()
        finally:
            os.close(descriptor)

    def write(self, file: Path, text: str) -> None:
        """Write a control file, which must exist."""
        descriptor = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)

    def children(self, group: Path) -> list[Path]:
        """The groups directly below."""
        try:
            with os.scandir(group) as entries:
                return [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            return []


@dataclass(frozen=True)
class Layout:
    """Where the controllers are: one root for each of cpu, cpuacct, cpuset (all the same on v2)."""

    version: int
    roots: dict[str, Path]

    def distinct(self) -> list[Path]:
        """Each hierarchy once."""
        return list(dict.fromkeys(self.roots.values()))


def find_layout(mounts: str | None = None) -> Layout:
    """The control groups of this machine: v2 where it has the controllers, else v1.

    Args:
        mounts: the text of /proc/self/mountinfo, for tests.

    Raises:
        CgroupError: neither has the cpu and cpuset controllers.
    """
    text = Path("/proc/self/mountinfo").read_text() if mounts is None else mounts
    v1: dict[str, Path] = {}
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        point = Path(before.split(" ")[4].replace("\\040", " "))
        if kind == "cgroup2":
            with contextlib.suppress(OSError):
                if {"cpu", "cpuset"} <= set((point / "cgroup.controllers").read_text().split()):
                    return Layout(2, dict.fromkeys(_CONTROLLERS, point))
        elif kind == "cgroup":
            v1.update({name: point for name in _CONTROLLERS if name in options.split(",")})
    missing = [name for name in _CONTROLLERS if name not in v1]
    if missing:
        raise CgroupError(f"no control group hierarchy offers {', '.join(missing)}")
    return Layout(1, v1)


@cache
def _layout_here() -> Layout:
    """Looked for once: with a thousand hosts, each of which is a mount, that takes milliseconds."""
    return find_layout()


class LabCgroup:
    """The group of a whole lab, `transship/<lab>`, in every hierarchy."""

    def __init__(self, lab: str, layout: Layout | None = None, files: CgroupFiles | None = None) -> None:
        self.layout = layout or _layout_here()
        self.files = files or CgroupFiles()
        self.path = f"{TREE}/{lab}"

    def exists(self) -> bool:
        """Whether any hierarchy has a group of that name."""
        return any((root / self.path).is_dir() for root in self.layout.distinct())

    def create(self) -> None:
        """Make the lab's group.

        Raises:
            CgroupError: it exists already, or control groups cannot be made here.
        """
        for root in self.layout.distinct():
            while True:
                with contextlib.suppress(FileExistsError), _explained(root / TREE, FileExistsError):
                    self.files.make(root / TREE)
                try:
                    if self.layout.version == 1 and root == self.layout.roots["cpuset"]:
                        self._open_cpuset(root)
                    with _explained(root / self.path, FileExistsError, FileNotFoundError):
                        self.files.make(root / self.path)
                except FileExistsError:
                    raise CgroupError(f"control group {root / self.path} exists already") from None
                except FileNotFoundError:
                    continue  # another lab's end removed the empty tree in between
                break
            _delegate(self, root, self.path)

    def _open_cpuset(self, root: Path) -> None:
        # A new v1 cpuset has no CPU and no memory. The tree gets all of both, and groups below copy that.
        for file in ("cpuset.cpus", "cpuset.mems"):
            self.files.write(root / TREE / file, self.files.read(root / file).strip())
        self.files.write(root / TREE / "cgroup.clone_children", "1")

    def destroy(self) -> None:
        """Remove the lab's group, whose hosts are gone, and the tree when it was the last lab."""
        for root in self.layout.distinct():
            _remove(self.files, root / self.path)
            with contextlib.suppress(OSError):
                self.files.remove(root / TREE)


class HostCgroup:
    """The groups of one host; `path` is relative to each hierarchy's root (`transship/<lab>/<host>`)."""

    def __init__(self, path: str, layout: Layout | None = None, files: CgroupFiles | None = None) -> None:
        self.layout = layout or _layout_here()
        self.files = files or CgroupFiles()
        self.path = path
        # Kept, because making a path takes longer than to read what is there.
        self._usage: dict[str, tuple[Path, Path]] = {}

    def create(self, cpus: Sequence[int] | None = None) -> None:
        """Make the host's groups, on `cpus` when given; the lab's group must exist."""
        for root in self.layout.distinct():
            top = root / self.path
            with _explained(top):
                self.files.make(top)
                if cpus is not None and root == self.layout.roots["cpuset"]:
                    self.files.write(top / "cpuset.cpus", _cpu_list(cpus))
                _delegate(self, root, self.path)
                self.files.make(top / "agent")
                self.files.make(top / "work")
                _delegate(self, root, f"{self.path}/work")
                self.files.make(top / "work" / "io")

    def set_cpus(self, cpus: Sequence[int]) -> None:
        """Confine every process of the host to these CPUs."""
        top = self.layout.roots["cpuset"] / self.path
        with _explained(top):
            if self.layout.version == 2:
                self.files.write(top / "cpuset.cpus", _cpu_list(cpus))
                return
            # On v1 a group's CPUs must contain its children's, so both first, then the new.
            old = _parse_cpus(self.files.read(top / "cpuset.cpus"))
            self.files.write(top / "cpuset.cpus", _cpu_list({*old, *cpus}))
            for group in _below(self.files, top, keep_order=True):
                current = _parse_cpus(self.files.read(group / "cpuset.cpus"))
                self.files.write(group / "cpuset.cpus", _cpu_list({*current, *cpus}))
            for group in reversed(_below(self.files, top, keep_order=True)):
                self.files.write(group / "cpuset.cpus", _cpu_list(cpus))
            self.files.write(top / "cpuset.cpus", _cpu_list(cpus))

    def set_budget(self, quota_us: int | None, period_us: int = 100_000) -> None:
        """Let `work/` run for `quota_us` microseconds of CPU in every `period_us`; None lifts the limit.

        Raises:
            CgroupError: a quota below the kernel's 1 ms, or a period outside 1 ms to 1 s.
        """
        if not MIN_QUOTA_US <= period_us <= MAX_PERIOD_US:
            raise CgroupError(f"period_us must be {MIN_QUOTA_US} to {MAX_PERIOD_US}, not {period_us}")
        if quota_us is not None and quota_us < MIN_QUOTA_US:
            raise CgroupError(
                f"quota_us must be at least {MIN_QUOTA_US} (the kernel's floor), not {quota_us}"
            )
        work = self._group("cpu", "work")
        with _explained(work):
            if self.layout.version == 2:
                self.files.write(work / "cpu.max", f"{'max' if quota_us is None else quota_us} {period_us}")
                return
            # Lifted first, because an old quota with a new period may exceed what the kernel accepts.
            self.files.write(work / "cpu.cfs_quota_us", "-1")
            self.files.write(work / "cpu.cfs_period_us", str(period_us))
            if quota_us is not None:
                self.files.write(work / "cpu.cfs_quota_us", str(quota_us))

    def add_hog(self, number: int) -> None:
        """Make `work/hog-<number>`; no error when it exists."""
        for root in self.layout.distinct():
            with contextlib.suppress(FileExistsError), _explained(root / self.path, FileExistsError):
                self.files.make(root / self.path / "work" / f"hog-{number}")

    def remove_hog(self, number: int) -> None:
        """Remove `work/hog-<number>`, killing what runs in it; no error when it is gone."""
        for root in self.layout.distinct():
            _remove(self.files, root / self.path / "work" / f"hog-{number}")

    def attach(self, pid: int, group: str) -> None:
        """Move a process into `agent`, `io` or `hog-N`."""
        for root in self.layout.distinct():
            directory = root / self.path / _inside(group)
            with _explained(directory):
                self.files.write(directory / "cgroup.procs", str(pid))

    def cpu_usec(self, group: str) -> int:
        """CPU microseconds that `agent`, `work`, `io` or `hog-N` has used; `hogs` is work without io.

        `hogs` so counts hogs that have been removed, too.
        """
        if group == "hogs":
            return self.cpu_usec("work") - self.cpu_usec("io")
        if self.layout.version == 2:
            return self._stat(group)["usage_usec"]
        if group not in self._usage:
            directory = self._group("cpuacct", group)
            self._usage[group] = directory, directory / "cpuacct.usage"
        directory, file = self._usage[group]
        with _explained(directory):
            return int(self.files.read(file)) // 1000

    def throttled(self) -> dict[str, int]:
        """How the budget bit: nr_periods, nr_throttled, throttled_usec."""
        stat = self._stat("work")
        usec = stat["throttled_usec"] if self.layout.version == 2 else stat["throttled_time"] // 1000
        return {
            "nr_periods": stat["nr_periods"],
            "nr_throttled": stat["nr_throttled"],
            "throttled_usec": usec,
        }

    def processes(self) -> list[int]:
        """Every process in any group of the host."""
        found: set[int] = set()
        for root in self.layout.distinct():
            for group in (root / self.path, *_below(self.files, root / self.path)):
                found.update(_pids(self.files, group))
        return sorted(found)

    def kill(self) -> None:
        """Kill the processes in the host's groups, each by pidfd, also those they start meanwhile."""
        deadline = time.monotonic() + _KILL_SECONDS
        while self.processes():
            if time.monotonic() > deadline:
                raise CgroupError(f"processes of control group {self.path} do not end")
            for root in self.layout.distinct():
                for group in (*_below(self.files, root / self.path), root / self.path):
                    _kill(self.files, group)
            time.sleep(0.001)  # a dead process leaves its group a moment after its pidfd says so

    def destroy(self) -> None:
        """Kill the processes in the host's groups, each by pidfd, and remove the groups."""
        for root in self.layout.distinct():
            _remove(self.files, root / self.path)

    def _group(self, controller: str, group: str) -> Path:
        return self.layout.roots[controller] / self.path / _inside(group)

    def _stat(self, group: str) -> dict[str, int]:
        directory = self._group("cpu", group)
        with _explained(directory):
            lines = self.files.read(directory / "cpu.stat").splitlines()
        return {name: int(value) for name, value in (line.split() for line in lines)}


def _inside(group: str) -> str:
    return group if group in ("agent", "work") else f"work/{group}"


def _delegate(owner: LabCgroup | HostCgroup, root: Path, path: str) -> None:
    """On v2 a group's children have only the controllers that it and all above it pass on."""
    if owner.layout.version == 2:
        for directory in (
            root,
            *(root / parent for parent in reversed(Path(path).parents[:-1])),
            root / path,
        ):
            with _explained(directory):
                owner.files.write(directory / "cgroup.subtree_control", "+cpu +cpuset")


def _below(files: CgroupFiles, group: Path, keep_order: bool = False) -> list[Path]:
    """Every group below, parents before children when the order is kept, else children first."""
    found: list[Path] = []
    waiting = [group]
    while waiting:
        children = files.children(waiting.pop())
        found += children
        waiting += children
    return found if keep_order else found[::-1]


def _remove(files: CgroupFiles, top: Path) -> None:
    deadline = time.monotonic() + _KILL_SECONDS
    for group in (*_below(files, top), top):
        while True:
            try:
                files.remove(group)
            except OSError as error:
                if error.errno in _GONE:
                    break
                if error.errno != errno.EBUSY or time.monotonic() > deadline:
                    raise CgroupError(f"cannot remove control group {group}: {error.strerror}") from error
                _kill(files, group)
                time.sleep(0.001)  # a dead process leaves its group a moment after its pidfd says so
                continue
            break


def _kill(files: CgroupFiles, group: Path) -> None:
    for pid in _pids(files, group):
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            # The number may have gone to another process before it was opened: it must still be in the group.
            if pid in _pids(files, group):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                select.select([descriptor], [], [], _KILL_SECONDS)
        except ProcessLookupError:
            pass
        finally:
            os.close(descriptor)


def _pids(files: CgroupFiles, group: Path) -> list[int]:
    try:
        return [int(pid) for pid in files.read(group / "cgroup.procs").split()]
    except OSError as error:
        if error.errno in _GONE:
            return []
        raise


@contextlib.contextmanager
def _explained(where: Path, *passed: type[OSError]) -> Iterator[None]:
    try:
        yield
    except passed:
        raise
    except OSError as error:
        raise CgroupError(f"control group {where}: {error.strerror}") from error


def _cpu_list(cpus: Sequence[int] | set[int]) -> str:
    return ",".join(str(cpu) for cpu in sorted(set(cpus)))


def _parse_cpus(text: str) -> list[int]:
    found: list[int] = []
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found
