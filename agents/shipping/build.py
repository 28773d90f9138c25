"""Build the C library as the extension module `agents.shipping._shipping` (cffi, API mode).

`python -m agents.shipping.build` does nothing when the sources have not changed since the last build.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

from cffi import FFI

from agents.shipping.interface import CDEF, SOURCE

HERE = Path(__file__).resolve().parent
STAMP = HERE / "_shipping.hash"
ROOMS = ("core", "devices", "net", "systems", "workloads")
FLAGS = ["-std=gnu11", "-O2", "-g", "-Wall", "-Wextra", "-Wno-unused-parameter"]
LIBRARIES = ["xdp", "bpf"]


def sources() -> list[Path]:
    """Every C file of the library, in a stable order."""
    return sorted(path for room in ROOMS for path in (HERE / room).glob("*.c"))


def fingerprint() -> str:
    """A hash over all that the module is made from."""
    digest = hashlib.sha256(f"{sys.version} {FLAGS} {LIBRARIES} {CDEF} {SOURCE}".encode())
    headers = [path for room in (*ROOMS, "include") for path in (HERE / room).glob("*.h")]
    for path in sorted([*sources(), *headers]):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def build() -> bool:
    """Build if anything changed; True if something was done. A failing compiler's words are on stderr."""
    with open(HERE / ".build.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        module = HERE / f"_shipping{sysconfig.get_config_var('EXT_SUFFIX')}"
        wanted = fingerprint()
        if module.exists() and STAMP.exists() and STAMP.read_text() == wanted:
            return False
        ffi = FFI()
        ffi.cdef(CDEF)
        ffi.set_source(
            "_shipping",
            SOURCE,
            sources=[str(path) for path in sources()],
            include_dirs=[str(HERE / "include"), str(HERE / "core")],
            libraries=LIBRARIES,
            extra_compile_args=FLAGS,
        )
        with tempfile.TemporaryDirectory() as work:
            made = ffi.compile(tmpdir=work, target=f"_shipping{sysconfig.get_config_var('EXT_SUFFIX')}")
            fresh = module.with_suffix(".new")
            shutil.copy2(made, fresh)
            fresh.replace(module)  # a process that runs the old one keeps it
        STAMP.write_text(wanted)
        return True


if __name__ == "__main__":
    build()
