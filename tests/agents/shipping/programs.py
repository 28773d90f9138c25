"""Compiles and runs the C tests beside this file, in the manner of liburing's: exit code 77 is a skip."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.support import LIMIT_S, PATIENCE_S

HERE = Path(__file__).resolve().parent / "c"
LIBRARY = Path(__file__).resolve().parents[3] / "agents" / "shipping"

WARNINGS = ["-Wall", "-Wextra", "-Wno-unused-parameter", "-Wno-unused-function", "-Wno-tsan", "-Werror"]
MEMORY = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
THREADS = ["-fsanitize=thread"]
LIBRARIES = ["-lpthread", "-Wl,--as-needed", "-lxdp", "-lbpf"]
SKIP = 77

_PROTECTION = ("protection", "strict", "write_revoked", "shield")
_CORE = (
    *("pool", "attach", "calls", "memory", "mapping", "wait", "control", "endpoint"),
    *("datapath", "manager", "counters", "messages", "file", *_PROTECTION),
)
POOL = [f"core/{name}.c" for name in ("pool", "counters", *_PROTECTION)]
_DEVICES = (
    *("channel", "framebuffer", "framebuffer_memory", "framebuffer_calls", "scanout"),
    *("file", "file_read", "file_write", "disk_uring", "disk_threads"),
)
CORE = [
    *(f"core/{name}.c" for name in _CORE),
    *(f"devices/{name}.c" for name in _DEVICES),
]
NET = [f"net/{name}.c" for name in ("packet_format", "arp", "outbox", "packet", "reassembly", "fragment")]


def behaviours(program: str) -> list[str]:
    """The names of the TEST functions of a C program."""
    return re.findall(r"^TEST\((\w+)\)", (HERE / f"{program}.c").read_text(), re.MULTILINE)


class Workshop:
    """Builds each program once, in a directory that goes with the session."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._built: dict[str, Path] = {}

    def build(self, program: str, library: list[str], sanitizer: list[str], *more: str) -> Path:
        """The program linked with those files of the library and more files beside it."""
        if program not in self._built:
            target = self.directory / program
            sources = [HERE / f"{name}.c" for name in (program, *more)] + [LIBRARY / name for name in library]
            includes = [f"-I{LIBRARY}", f"-I{LIBRARY / 'include'}", f"-I{LIBRARY / 'core'}"]
            options = ["-std=gnu11", "-O1", "-g", *WARNINGS, *sanitizer, *includes]
            subprocess.run(["gcc", *options, "-o", str(target), *map(str, sources), *LIBRARIES], check=True)
            self._built[program] = target
        return self._built[program]


def run(program: Path, *arguments: str, seconds: float = LIMIT_S - PATIENCE_S, tier: int = 0) -> None:
    """Run it beside itself; the test fails with its words, or is skipped if it says so."""
    try:
        done = subprocess.run(
            [program, *arguments],
            cwd=program.parent,
            env={**os.environ, "TIER": str(tier)},
            capture_output=True,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired as late:
        pytest.fail(f"{program.name} {' '.join(arguments)} still ran after {seconds:g} s\n{late.stderr!r}")
    if done.returncode == SKIP:
        pytest.skip(done.stderr.strip())
    if done.returncode != 0:
        pytest.fail(f"{program.name} {' '.join(arguments)} ended with {done.returncode}\n{done.stderr}")
    print(done.stdout, end="")
