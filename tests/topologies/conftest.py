"""Labs for the tests of the builder: a name and a run directory of their own, gone whatever happens."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from topologies import Topology, resolve
from topologies.builder import Record, deploy, destroy
from topologies.cgroups import LabCgroup

_numbers = count()


@dataclass(frozen=True)
class Place:
    """Where a test's lab goes."""

    lab: str
    run_root: Path

    def deploy(
        self, topology: Topology | str = "two-fddi", progress: Callable[[str, int, int], None] | None = None
    ) -> Record:
        chosen = resolve(topology) if isinstance(topology, str) else topology
        return deploy(self.lab, chosen, self.run_root, progress)

    def destroy(self) -> None:
        destroy(self.lab, self.run_root)

    def remains(self) -> list[str]:
        """Whatever there is of the lab on this machine."""
        prefix = f"transship-{self.lab}-"
        found = [name for name in os.listdir("/run/netns") if name.startswith(prefix)]
        found += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if prefix in line]
        found += [str(path) for path in self.run_root.glob("*")]
        group = LabCgroup(self.lab)
        found += [str(root / group.path) for root in group.layout.distinct() if (root / group.path).exists()]
        return found


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A lab's name that no other test run uses, and its own run directory."""
    Path("/run/netns").mkdir(exist_ok=True)
    here = Place(f"t{os.getpid()}-{next(_numbers)}", tmp_path / "run")
    yield here
    here.destroy()


@pytest.fixture
def fddi(place: Place) -> Record:
    """The lab two-fddi, deployed."""
    return place.deploy()
