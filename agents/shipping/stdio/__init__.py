"""The standard I/O library over Container Shipping, for C programs compiled again (docs/stdio.md)."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
LIBRARY = HERE.parent
SOURCES = [
    *sorted(HERE.glob("*.c")),
    *(LIBRARY / "core" / f"{name}.c" for name in ("attach", "calls", "memory", "wait")),
]
"""What a program is compiled with: this library, and the calls of a process."""
FLAGS = ["-std=gnu11", f"-I{HERE / 'replace'}", f"-I{LIBRARY / 'include'}"]


def compile_with(sources: Sequence[Path], program: Path, options: Sequence[str]) -> None:
    """Compile unchanged C sources with the replaced library. Raises subprocess.CalledProcessError."""
    subprocess.run(
        ["gcc", *FLAGS, *options, "-o", str(program), *map(str, [*sources, *SOURCES])],
        check=True,
        capture_output=True,
        text=True,
    )
