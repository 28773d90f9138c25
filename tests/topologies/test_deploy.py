"""A user relies on: a lab is there completely or not at all, and its end leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support import PATIENCE_S
from tests.topologies.conftest import Place
from topologies import resolve
from topologies.builder import (
    DeployError,
    LabBusy,
    LabExists,
    Record,
    RecordError,
    deploy,
    destroy,
    read_record,
)
from topologies.builder.netns import NETNS_DIR, create_namespace, delete_namespace, enter_namespace, in_thread
from topologies.cgroups import HostCgroup

pytestmark = pytest.mark.root

STEPS = 12
"""Steps that deploying two-fddi reports, `test_every_step_is_known` holds it to that."""


class Interrupted(Exception):
    pass


def read_inside(namespace: str, path: str) -> str:
    def read() -> str:
        enter_namespace(namespace)
        return Path(path).read_text().strip()

    return in_thread(read)


def test_a_deployed_lab_has_what_its_record_says(place: Place) -> None:
    record = place.deploy()
    assert read_record(place.lab, place.run_root) == record
    assert all((NETNS_DIR / name).is_file() for name in record.namespaces())
    assert record.steering.applied == (len(os.sched_getaffinity(0)) > 0)
    for host in record.hosts.values():
        assert HostCgroup(host.cgroup).processes() == []
        assert read_inside(host.namespace, "/proc/sys/net/ipv4/ip_forward") == "0"
        assert "eth0" in read_inside(host.namespace, "/proc/thread-self/net/dev")


def test_the_machines_own_network_stays_as_it_was(place: Place) -> None:
    before = Path("/proc/net/dev").read_text().count(":")
    record = place.deploy()
    names = Path("/proc/net/dev").read_text()
    assert all(f" {port}:" not in names for network in record.networks.values() for port in network.ports)
    assert names.count(":") == before


def test_hosts_and_ports_have_no_ipv6(fddi: Record) -> None:
    for namespace in fddi.namespaces():
        assert read_inside(namespace, "/proc/thread-self/net/if_inet6") == ""


def test_deploying_twice_is_a_no_op(place: Place) -> None:
    first = place.deploy()
    inode = os.stat(NETNS_DIR / first.namespace).st_ino
    steps: list[str] = []
    assert place.deploy(progress=lambda step, done, total: steps.append(step)) == first
    assert os.stat(NETNS_DIR / first.namespace).st_ino == inode
    assert steps == []


def test_destroying_twice_is_a_no_op(place: Place) -> None:
    place.deploy()
    place.destroy()
    assert place.remains() == []
    place.destroy()
    destroy("never-was", place.run_root)
    assert not (place.run_root / "never-was").exists()


def test_another_topology_under_the_same_name_is_refused(place: Place) -> None:
    first = place.deploy()
    with pytest.raises(LabExists, match="another topology"):
        place.deploy("chain,2")
    assert read_record(place.lab, place.run_root) == first


@pytest.mark.parametrize("name", ["$(touch x)", "-rf", "", "A", "../x", "a/b", "x" * 40])
def test_a_lab_name_that_is_not_a_name_is_refused(place: Place, name: str) -> None:
    with pytest.raises(DeployError, match="lab name"):
        deploy(name, resolve("two-fddi"), place.run_root)
    destroy(name, place.run_root)
    assert not place.run_root.exists()


def test_every_step_is_known(place: Place) -> None:
    seen: list[tuple[str, int, int]] = []
    place.deploy(progress=lambda step, done, total: seen.append((step, done, total)))
    assert len(seen) == STEPS
    assert [done for _, done, _ in seen] == list(range(STEPS))
    assert {total for _, _, total in seen} == {STEPS}


@pytest.mark.parametrize("failing", range(STEPS))
def test_a_failure_at_any_step_leaves_nothing(place: Place, failing: int) -> None:
    def progress(step: str, done: int, total: int) -> None:
        # The record is there before the first thing is made.
        assert read_record(place.lab, place.run_root) is not None
        if done == failing:
            raise Interrupted(step)

    with pytest.raises(Interrupted):
        place.deploy(progress=progress)
    assert place.remains() == []
    place.deploy()


def test_a_refusal_of_the_kernel_leaves_nothing_and_says_what(place: Place) -> None:
    def sabotage(step: str, done: int, total: int) -> None:
        if step == "host sink":
            record = read_record(place.lab, place.run_root)
            assert record is not None
            in_thread(lambda: create_namespace(record.hosts["sink"].namespace))

    with pytest.raises(DeployError, match="was not deployed") as caught:
        place.deploy(progress=sabotage)
    assert "File exists" in str(caught.value)
    assert place.remains() == []


def test_what_is_not_the_labs_is_refused_and_left_alone(place: Place) -> None:
    name = f"transship-{place.lab}-sink"
    in_thread(lambda: create_namespace(name))
    try:
        with pytest.raises(LabExists, match="is not this lab's"):
            place.deploy()
        assert (NETNS_DIR / name).exists()
        assert not (place.run_root / place.lab).exists()
    finally:
        delete_namespace(name)


def test_two_labs_cannot_own_one_name(place: Place) -> None:
    place.deploy()  # owns transship-<lab>-source
    parent, _, last = place.lab.rpartition("-")
    topology = resolve("chain,2").model_dump(mode="json")
    topology["hosts"][f"x{last}-source"] = topology["hosts"].pop("w1")
    other = Place(place.lab + "-q", place.run_root)
    assert other.deploy("chain,2").namespace != f"transship-{parent}"
    other.destroy()
    assert read_record(place.lab, place.run_root) is not None


BLOCKED = """
import sys, threading
from pathlib import Path
from topologies import resolve
from topologies.builder import deploy
def progress(step, done, total):
    if done == int(sys.argv[3]):
        print("there", flush=True)
        threading.Event().wait()
deploy(sys.argv[1], resolve("two-fddi"), Path(sys.argv[2]), progress)
"""


def blocked_deploy(place: Place, step: int) -> subprocess.Popen[str]:
    """Another process that stands in the middle of deploying."""
    command = [sys.executable, "-c", BLOCKED, place.lab, str(place.run_root), str(step)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    assert process.stdout is not None
    assert process.stdout.readline() == "there\n"
    return process


@pytest.mark.parametrize("step", [0, 1, 3, 5, 7, 10, STEPS - 1])
def test_killed_in_the_middle_the_record_is_enough(place: Place, step: int) -> None:
    process = blocked_deploy(place, step)
    process.send_signal(signal.SIGKILL)
    process.wait()
    place.destroy()
    assert place.remains() == []


def test_killed_in_the_middle_deploying_again_starts_afresh(place: Place) -> None:
    process = blocked_deploy(place, 7)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert place.deploy().state == "deployed"


INTERRUPTED = """
import os, signal, sys
from pathlib import Path
from topologies import resolve
from topologies.builder import deploy
def progress(step, done, total):
    if done == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGINT)
deploy(sys.argv[1], resolve("chain,30"), Path(sys.argv[2]), progress)
"""


@pytest.mark.parametrize("step", [0, 2, 10, 35])
def test_control_c_in_the_middle_leaves_nothing(place: Place, step: int) -> None:
    command = [sys.executable, "-c", INTERRUPTED, place.lab, str(place.run_root), str(step)]
    done = subprocess.run(
        command, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2], check=False
    )
    assert "KeyboardInterrupt" in done.stderr
    assert place.remains() == []


def test_a_lab_that_lost_a_namespace_is_made_again(place: Place) -> None:
    record = place.deploy()
    delete_namespace(record.hosts["sink"].namespace)
    assert place.deploy().state == "deployed"
    assert all((NETNS_DIR / name).exists() for name in record.namespaces())


def test_a_second_deploy_meanwhile_is_refused(place: Place) -> None:
    process = blocked_deploy(place, 5)
    try:
        with pytest.raises(LabBusy):
            place.deploy()
    finally:
        process.kill()
        process.wait()


def test_of_many_deploys_at_once_exactly_one_builds(place: Place) -> None:
    builders: list[str] = []
    start = threading.Barrier(6)

    def attempt(number: int) -> str:
        start.wait()
        try:
            place.deploy(
                progress=lambda step, done, total: builders.append(str(number)) if done == 0 else None
            )
        except LabBusy:
            return "busy"
        return "done"

    with ThreadPoolExecutor(6) as pool:
        outcomes = list(pool.map(attempt, range(6)))
    assert len(builders) == 1
    assert "done" in outcomes
    assert read_record(place.lab, place.run_root) is not None


def test_destroying_kills_what_runs_in_the_lab(place: Place) -> None:
    record = place.deploy()
    sleeper = subprocess.Popen(["sleep", "1000"])
    bystander = subprocess.Popen(["sleep", "1000"])
    try:
        HostCgroup(record.hosts["middle"].cgroup).attach(sleeper.pid, "io")
        place.destroy()
        assert sleeper.wait(timeout=PATIENCE_S) == -signal.SIGKILL
        assert bystander.poll() is None
    finally:
        for process in (sleeper, bystander):
            process.kill()
            process.wait()
    assert place.remains() == []


def test_a_record_that_cannot_be_read_is_said_so_and_kept(place: Place) -> None:
    place.deploy()
    file = place.run_root / place.lab / "record.json"
    text = file.read_text()
    file.write_text(text[: len(text) // 2])
    try:
        with pytest.raises(RecordError, match="not a record"):
            place.destroy()
        assert file.exists()
    finally:
        file.write_text(text)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_fifty_cycles_leak_nothing(place: Place) -> None:
    place.deploy()
    place.destroy()
    descriptors, threads = open_descriptors(), threading.active_count()
    children = Path("/proc/self/task").joinpath(str(os.getpid()), "children").read_text()
    for _ in range(50):
        place.deploy()
        place.destroy()
        assert place.remains() == []
    assert open_descriptors() == descriptors
    assert threading.active_count() == threads
    assert Path("/proc/self/task").joinpath(str(os.getpid()), "children").read_text() == children
