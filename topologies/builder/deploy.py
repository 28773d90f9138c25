"""Deploying and destroying a lab: the record first, then the thing; by the record only, or not at all."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from topologies.builder.construct import construct, steps
from topologies.builder.errors import DeployError, DestroyError, LabError, LabExists
from topologies.builder.lock import claims, locked, refuse_taken
from topologies.builder.netns import NETNS_DIR, delete_namespace, in_thread
from topologies.builder.plan import plan
from topologies.builder.steering import steer
from topologies.cgroups import CgroupError, HostCgroup, LabCgroup, find_layout
from topologies.model import NAME_PATTERN, Topology
from topologies.record import RECORD_FILE, RUN_ROOT, Record, RecordError, read_record

Progress = Callable[[str, int, int], None]
"""Called before each step with what it is, how many are done and how many there are. May raise to stop."""

_DESTROY_WAIT_SECONDS = 60.0


def deploy(
    lab: str, topology: Topology, run_root: Path = RUN_ROOT, progress: Progress | None = None
) -> Record:
    """Make the lab described by `topology` and return its record; a lab that stands with it is left as it is.

    Blocks; call it from a thread when there is an event loop.

    Raises:
        LabExists: a lab of that name with another topology, or names taken by something else.
        LabBusy: the lab is being deployed, changed or destroyed.
        DeployError: a step failed; what had been made is gone again.
        BaseException: whatever `progress` raised; what had been made is gone again.
    """
    if not re.fullmatch(NAME_PATTERN, lab):
        raise DeployError(f"lab name {lab[:60]!r} must be 1 to 31 lower-case letters, digits and '-'")
    if os.geteuid() != 0:
        raise DeployError("deploying a lab needs root: it makes network namespaces and control groups")
    with locked(lab, run_root, create=True) as run_dir:
        assert run_dir is not None
        standing = read_record(lab, run_root)
        if standing is not None and standing.state == "deployed":
            if standing.topology != topology:
                raise LabExists(f"lab {lab!r} stands with another topology; destroy it first")
            if all((NETNS_DIR / name).exists() for name in standing.namespaces()):
                return standing
        if standing is not None:
            # Its deploy or change died half-way (the lock says nobody is at it), or somebody took namespaces.
            _remove(standing)
        record = plan(lab, topology, run_dir, sorted(os.sched_getaffinity(0)))
        _claim(record, run_root)
        return _build(record, progress)


def destroy(lab: str, run_root: Path = RUN_ROOT) -> None:
    """Remove a lab and everything its record names; no error when there is none.

    Processes in its control groups are killed. The kernel takes the interfaces down in the background.

    Raises:
        DestroyError: something would not go; the record stays.
        LabBusy: the lab is being deployed or changed for more than a minute.
        RecordError: the record cannot be read.
    """
    if not re.fullmatch(NAME_PATTERN, lab):
        return  # no lab can have that name
    with locked(lab, run_root, create=False, wait_seconds=_DESTROY_WAIT_SECONDS) as run_dir:
        if run_dir is None:
            return
        record = read_record(lab, run_root)
        if record is None:
            shutil.rmtree(run_dir)  # killed before its record: nothing else can exist
            return
        _remove(record)
        _forget(run_dir)


def _claim(record: Record, run_root: Path) -> None:
    """Write the record, once every name in it is known to be free."""
    try:
        with claims(run_root):
            refuse_namespaces(record.namespaces(), record.lab, run_root)
            if LabCgroup(record.lab, find_layout()).exists():
                raise LabExists(f"control group {record.cgroup} exists already and is not this lab's")
            record.save()
    except BaseException:
        _forget(record.run_dir)
        raise


def refuse_namespaces(names: list[str], lab: str, run_root: Path) -> None:
    """Raises `LabExists` when another lab claims one of the names, or something else has it."""
    refuse_taken(names, lab, run_root)
    for name in names:
        if os.path.lexists(NETNS_DIR / name):
            raise LabExists(f"network namespace {name} exists already and is not this lab's")


def _build(record: Record, progress: Progress | None) -> Record:
    report = progress or (lambda step, done, total: None)
    total = steps(record) + 3
    done = 0

    def step(name: str) -> None:
        nonlocal done
        report(name, done, total)
        done += 1

    def work() -> None:
        for name in construct(record):
            step(name)
        step("steering")
        record.steering = steer(record)

    try:
        step("control groups")
        _make_groups(record)
        in_thread(work)
        step("record")
        record.state = "deployed"
        record.save()
    except BaseException as error:
        _undo(record, error)
        if isinstance(error, (OSError, CgroupError)):
            raise DeployError(f"lab {record.lab!r} was not deployed: {error}") from error
        raise
    return record


def _make_groups(record: Record) -> None:
    layout = find_layout()
    LabCgroup(record.lab, layout).create()
    for host in record.hosts.values():
        HostCgroup(host.cgroup, layout).create(host.cpus)


def _undo(record: Record, error: BaseException) -> None:
    try:
        _remove(record)
        _forget(record.run_dir)
    except LabError as failure:
        error.add_note(f"and cleaning up failed, destroy the lab to try again: {failure}")


def _remove(record: Record) -> None:
    record.state = "destroying"
    record.save()
    failures: list[str] = []
    try:
        layout = find_layout()
        for host in record.hosts.values():
            HostCgroup(host.cgroup, layout).destroy()
        LabCgroup(record.lab, layout).destroy()
    except (CgroupError, OSError) as error:
        failures.append(str(error))
    for name in record.namespaces():
        try:
            delete_namespace(name)
        except OSError as error:
            failures.append(str(error))
    failures += [f"{name} is still there" for name in record.namespaces() if (NETNS_DIR / name).exists()]
    if failures:
        raise DestroyError(f"lab {record.lab!r} is not gone: {'; '.join(failures[:5])}")


def _forget(run_dir: Path) -> None:
    # The record goes last: as long as anything else is there, destroy can find the lab again.
    for entry in os.scandir(run_dir):
        if entry.name != RECORD_FILE:
            shutil.rmtree(entry) if entry.is_dir(follow_symlinks=False) else os.unlink(entry)
    (run_dir / RECORD_FILE).unlink(missing_ok=True)
    run_dir.rmdir()


__all__ = ["DeployError", "DestroyError", "LabError", "LabExists", "RecordError", "deploy", "destroy"]
