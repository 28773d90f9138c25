"""A user relies on: a host's processes are confined, weighed and limited as said, on cgroup v1 and v2."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import PATIENCE_S, wait_until
from topologies.cgroups import CgroupError, CgroupFiles, HostCgroup, LabCgroup, Layout, find_layout

V1 = """\
30 23 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
31 23 0:27 / /sys/fs/cgroup/cpuset rw,relatime shared:9 - cgroup cgroup rw,cpuset
32 23 0:28 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
33 23 0:29 / / rw - ext4 /dev/root rw
"""


class FakeV2(CgroupFiles):
    """A cgroup v2 file system in a directory, with the kernel's rules that matter here."""

    FILES = ("cgroup.procs", "cgroup.subtree_control")
    CONTROLLED = ("cpu.max", "cpu.stat", "cpuset.cpus")

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
        (root / "cgroup.subtree_control").write_text("")
        (root / "cgroup.procs").write_text("1\n")

    def make(self, group: Path) -> None:
        super().make(group)
        for name in self.FILES:
            (group / name).write_text("")
        if "cpu" in (group.parent / "cgroup.subtree_control").read_text():
            for name in self.CONTROLLED:
                (group / name).write_text("")
            (group / "cpu.stat").write_text(
                "usage_usec 5000\nuser_usec 1\nnr_periods 7\nnr_throttled 3\nthrottled_usec 900\n"
            )

    def remove(self, group: Path) -> None:
        if not group.exists():
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        if (group / "cgroup.procs").read_text() or self.children(group):
            raise OSError(errno.EBUSY, "Device or resource busy")
        for file in group.iterdir():
            file.unlink()
        super().remove(group)

    def write(self, file: Path, text: str) -> None:
        group = file.parent
        if file.name == "cgroup.subtree_control":
            if group != self.root and (group / "cgroup.procs").read_text():
                raise OSError(errno.EBUSY, "Device or resource busy")
            wanted = {name.lstrip("+") for name in text.split()}
            given = self.root if group == self.root else group.parent
            have = (
                given / ("cgroup.controllers" if group == self.root else "cgroup.subtree_control")
            ).read_text()
            if not wanted <= set(have.split()):
                raise OSError(errno.ENOENT, "No such file or directory")
            text = " ".join(sorted(wanted))
        if file.name == "cgroup.procs":
            if group != self.root and (group / "cgroup.subtree_control").read_text():
                raise OSError(errno.EBUSY, "Device or resource busy")
            text = (group / "cgroup.procs").read_text() + f"{text}\n"
        if not file.exists():
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        file.write_text(text)


@pytest.fixture
def v2(tmp_path: Path) -> tuple[Layout, FakeV2]:
    return Layout(2, dict.fromkeys(("cpu", "cpuacct", "cpuset"), tmp_path)), FakeV2(tmp_path)


def groups(root: Path) -> list[str]:
    return sorted(
        str(path.relative_to(root / "transship")) for path in (root / "transship").rglob("*") if path.is_dir()
    )


def test_v1_hierarchies_are_found_even_when_mounted_together() -> None:
    layout = find_layout(V1)
    assert layout.version == 1
    assert layout.roots["cpu"] == layout.roots["cpuacct"] == Path("/sys/fs/cgroup/cpu,cpuacct")
    assert len(layout.distinct()) == 2


def test_v2_is_taken_where_it_has_the_controllers(v2: tuple[Layout, FakeV2], tmp_path: Path) -> None:
    layout = find_layout(f"32 23 0:28 / {tmp_path} rw - cgroup2 cgroup2 rw\n" + V1)
    assert (layout.version, layout.roots["cpuset"]) == (2, tmp_path)


def test_a_machine_without_the_controllers_is_said_so() -> None:
    with pytest.raises(CgroupError, match="cpu, cpuacct, cpuset"):
        find_layout("33 23 0:29 / / rw - ext4 /dev/root rw\n")


def test_v2_makes_the_tree_with_the_controllers_passed_down(
    v2: tuple[Layout, FakeV2], tmp_path: Path
) -> None:
    layout, files = v2
    LabCgroup("lab", layout, files).create()
    host = HostCgroup("transship/lab/h1", layout, files)
    host.create([0, 2])
    host.add_hog(1)
    host.add_hog(1)
    assert groups(tmp_path) == [
        "lab",
        "lab/h1",
        "lab/h1/agent",
        "lab/h1/work",
        "lab/h1/work/hog-1",
        "lab/h1/work/io",
    ]
    work = tmp_path / "transship/lab/h1/work"
    assert (work.parent / "cpuset.cpus").read_text() == "0,2"
    host.set_budget(2000, 50_000)
    assert (work / "cpu.max").read_text() == "2000 50000"
    host.set_budget(None)
    assert (work / "cpu.max").read_text() == "max 100000"
    host.set_cpus([1])
    assert (work.parent / "cpuset.cpus").read_text() == "1"
    assert host.cpu_usec("io") == 5000
    assert host.throttled() == {"nr_periods": 7, "nr_throttled": 3, "throttled_usec": 900}
    host.attach(4242, "hog-1")
    assert (work / "hog-1" / "cgroup.procs").read_text() == "4242\n"
    (work / "hog-1" / "cgroup.procs").write_text("")
    host.remove_hog(1)
    host.remove_hog(1)
    host.destroy()
    host.destroy()
    LabCgroup("lab", layout, files).destroy()
    assert not (tmp_path / "transship").exists()


def test_a_labs_group_is_made_once(v2: tuple[Layout, FakeV2]) -> None:
    layout, files = v2
    LabCgroup("lab", layout, files).create()
    with pytest.raises(CgroupError, match="exists already"):
        LabCgroup("lab", layout, files).create()
    LabCgroup("other", layout, files).create()


@pytest.mark.parametrize(
    ("quota", "period"), [(999, 100_000), (0, 100_000), (-1, 100_000), (5000, 999), (5000, 2_000_000)]
)
def test_a_budget_the_kernel_would_refuse_is_refused_by_name(
    v2: tuple[Layout, FakeV2], quota: int, period: int
) -> None:
    layout, files = v2
    with pytest.raises(CgroupError, match="must be"):
        HostCgroup("transship/lab/h1", layout, files).set_budget(quota, period)


def test_a_group_that_is_not_there_is_said_so(v2: tuple[Layout, FakeV2]) -> None:
    layout, files = v2
    host = HostCgroup("transship/lab/h1", layout, files)
    with pytest.raises(CgroupError, match="transship/lab/h1"):
        host.attach(1, "io")
    with pytest.raises(CgroupError, match="transship/lab/h1"):
        host.cpu_usec("io")


@pytest.fixture
def host() -> Iterator[HostCgroup]:
    """A host's groups on this machine."""
    lab = LabCgroup(f"t{os.getpid()}-cg")
    lab.create()
    made = HostCgroup(f"{lab.path}/h1")
    try:
        made.create([sorted(os.sched_getaffinity(0))[0]])
        yield made
    finally:
        made.destroy()
        lab.destroy()


@pytest.fixture
def spinner() -> Iterator[subprocess.Popen[bytes]]:
    """A process that wants a whole CPU."""
    process = subprocess.Popen(["sh", "-c", "while :; do :; done"])
    yield process
    process.kill()
    process.wait()


@pytest.mark.root
def test_a_process_gets_its_budget_and_no_more(host: HostCgroup, spinner: subprocess.Popen[bytes]) -> None:
    host.set_budget(5000, 50_000)
    host.attach(spinner.pid, "io")
    assert host.processes() == [spinner.pid]
    assert os.sched_getaffinity(spinner.pid) == {sorted(os.sched_getaffinity(0))[0]}
    start, used = time.monotonic(), host.cpu_usec("io")
    wait_until(lambda: host.throttled()["nr_throttled"] >= 10, "the budget bites")
    share = (host.cpu_usec("io") - used) / 1e6 / (time.monotonic() - start)
    assert share < 0.2
    assert host.throttled()["throttled_usec"] > 0
    assert host.cpu_usec("work") >= host.cpu_usec("io") > 0
    assert host.cpu_usec("agent") == 0


@pytest.mark.root
def test_hogs_are_counted_even_after_they_are_gone(
    host: HostCgroup, spinner: subprocess.Popen[bytes]
) -> None:
    host.add_hog(1)
    host.attach(spinner.pid, "hog-1")
    wait_until(lambda: host.cpu_usec("hogs") > 10_000, "the hog runs")
    host.remove_hog(1)
    assert spinner.wait(PATIENCE_S) == -signal.SIGKILL
    assert host.cpu_usec("hogs") > 10_000


@pytest.mark.root
def test_cpus_can_be_changed_back_and_forth(host: HostCgroup, spinner: subprocess.Popen[bytes]) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    host.attach(spinner.pid, "io")
    for wanted in ([cpus[-1]], cpus, [cpus[0]]):
        host.set_cpus(wanted)
        assert os.sched_getaffinity(spinner.pid) == set(wanted)


@pytest.mark.root
def test_destroying_kills_what_is_in_the_groups(host: HostCgroup, spinner: subprocess.Popen[bytes]) -> None:
    host.attach(spinner.pid, "agent")
    host.destroy()
    assert spinner.wait(PATIENCE_S) == -signal.SIGKILL
    assert host.processes() == []
