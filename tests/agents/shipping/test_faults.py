"""Processes and managers that are killed at every step of every call: docs/crash-safety.md.

TRANSSHIP_KILLS says how many processes are killed, TRANSSHIP_SEED which, TRANSSHIP_FIRST_KILL from where on.
"""

import re
import subprocess
from pathlib import Path

import pytest

from tests.agents.shipping.programs import CORE, LIBRARY, MEMORY, NET, Workshop, behaviours, run


@pytest.mark.parametrize(
    ("program", "test"), [(p, test) for p in ("test_faults", "test_manager_faults") for test in behaviours(p)]
)
def test_killed(workshop: Workshop, program: str, test: str) -> None:
    built = workshop.build(program, [*CORE, *NET], [*MEMORY, "-DCS_FAULTS"], "fake_wire")
    run(built, test)


@pytest.mark.parametrize("test", behaviours("test_steady"))
def test_steady(workshop: Workshop, test: str) -> None:
    run(workshop.build("test_steady", [*CORE, *NET], ["-O2"], "fake_wire"), test)


def assembly(source: Path, room: str) -> str:
    """What the compiler makes of a file of that room of the library, as it is built."""
    includes = [f"-I{LIBRARY / name}" for name in ("include", "core", room)]
    command = ["gcc", "-std=gnu11", "-O2", *includes, "-S", "-o", "-", str(source)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_the_library_as_built_knows_nothing_of_fault_points(tmp_path: Path) -> None:
    files = [path for path in sorted(LIBRARY.rglob("*.c")) if "CS_FAULT(" in path.read_text()]
    assert len(files) >= 8
    for path in files:
        room = path.parent.name
        without = tmp_path / path.name
        text, count = re.subn(r"^ *CS_FAULT\(.*\);\n", "", path.read_text(), flags=re.MULTILINE)
        assert count > 0
        without.write_text(text)
        assert "CS_FAULT" not in without.read_text()
        assert assembly(path, room) == assembly(without, room)
