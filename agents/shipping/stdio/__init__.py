"""The standard I/O library over Container Shipping, for C programs compiled again (docs/stdio.md)."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from agents.shipping.build import FLAGS, LIBRARIES, sources
from agents.shipping.build import HERE as LIBRARY

HERE = Path(__file__).resolve().parent
CALLS = [path for path in sources() if path.parent.name in ("core", "devices", "net")]
"""What a program that makes the six calls is linked with; a manager, too."""
INCLUDES = [f"-I{LIBRARY / room}" for room in (".", "include", "core")]
LINKED = [f"-l{name}" for name in (*LIBRARIES, "pthread")]


def compile_with(program_sources: Sequence[Path], program: Path, options: Sequence[str]) -> None:
    """Compile unchanged C sources with the replaced library. Raises subprocess.CalledProcessError."""
    with tempfile.TemporaryDirectory(prefix="transship-stdio-") as folder:
        objects = [Path(folder) / f"{number}.o" for number in range(len(program_sources))]
        for source, made in zip(program_sources, objects, strict=True):
            gcc([f"-I{HERE / 'replace'}", *options, "-c", str(source)], made)
        library = [*objects, *sorted(HERE.glob("*.c")), *CALLS]
        gcc([*FLAGS, *options, *INCLUDES, *map(str, library), *LINKED], program)


def gcc(arguments: Sequence[str], made: Path) -> None:
    """Raises subprocess.CalledProcessError, whose `stderr` has the compiler's words."""
    subprocess.run(["gcc", "-o", str(made), *arguments], check=True, capture_output=True, text=True)
