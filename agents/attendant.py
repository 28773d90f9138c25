"""Processes that attend a person at a lab: a capture, a console. The machine agent starts one for each."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from agents.host_privileges import drop_capabilities, enter_network, name_machine
from agents.processes import die_with_parent, first_line
from agents.requests import Attendance
from topologies.cgroups import CgroupError, HostCgroup

Task = TypeVar("Task", bound=BaseModel)


def attend(task: type[Task], keep: Collection[int]) -> Task:
    """Goes where the first line of standard input says, keeps only these capabilities, and returns the task.

    What it costs is paid for where the host's agent is, not by the host's work. Raises `OSError`,
    `ValueError`.
    """
    asked = Attendance.model_validate_json(first_line(0))
    die_with_parent(asked.parent)
    if asked.cgroup is not None:
        try:
            HostCgroup(asked.cgroup).attach(os.getpid(), "agent")
        except CgroupError as error:
            raise OSError(str(error)) from error
    enter_network(Path(asked.namespace))
    name_machine(asked.name)
    drop_capabilities(keep)
    return task.model_validate(asked.task)
