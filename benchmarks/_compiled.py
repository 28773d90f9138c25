"""C programs beside a benchmark: compiled when their sources have changed, kept in the state directory."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra")
LIBRARIES = ("-lxdp", "-lbpf")


class CompileError(RuntimeError):
    """A program could not be made; the message says why."""


def compiled(
    name: str,
    sources: Sequence[Path],
    cache: Path,
    includes: Sequence[Path] = (),
    more_flags: Sequence[str] = (),
) -> Path:
    """The program of that name, from `cache` if it was made from these very sources and headers.

    Raises:
        CompileError: it cannot be compiled.
    """
    flags = (*FLAGS, *more_flags, *(f"-I{folder}" for folder in includes))
    read = [*sources, *sorted({path.parent for path in sources} | set(includes))]
    digest = hashlib.sha256(" ".join((*FLAGS, *more_flags, *LIBRARIES)).encode())
    for path in read:
        for part in sorted(path.glob("**/*.h")) if path.is_dir() else [path]:
            digest.update(part.name.encode() + part.read_bytes())
    program = cache / f"{name}-{digest.hexdigest()[:16]}"
    if program.exists():
        return program
    fresh = program.with_suffix(f".{os.getpid()}")
    what = sources[0].name if len(sources) == 1 else name
    try:
        cache.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["cc", *flags, "-o", str(fresh), *map(str, sources), *LIBRARIES],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise CompileError(f"cannot compile {what}: {done.stderr.strip()}")
        fresh.replace(program)  # whoever runs the old one keeps it
    except OSError as error:
        raise CompileError(f"cannot compile {what}: {error}") from error
    finally:
        fresh.unlink(missing_ok=True)
    return program
