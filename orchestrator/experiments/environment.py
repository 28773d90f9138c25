"""The machine a run was done on, as far as it may decide the numbers."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import time
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from orchestrator.experiments.steadiness import page_touch_us

PROJECT = Path(__file__).parents[2]
VOLATILE = ("time", "load_average", "page_touch_us", "project")
"""What may differ between before and after. A commit made during a run is not what runs."""
LIBRARIES = ("aiohttp", "pydantic", "pyroute2", "numpy", "matplotlib", "cffi", "mininet")
PACKAGES = ("mininet", "libxdp1", "libbpf1", "libc6")
SYSCTLS = (
    "net/core/rmem_max",
    "net/core/wmem_max",
    "net/core/rmem_default",
    "net/core/netdev_max_backlog",
    "net/core/netdev_budget",
    "kernel/sched_autogroup_enabled",
    "kernel/randomize_va_space",
)


NUMBERS = ("gate",)
"""The kernel's own numbers in a record: a network has one from the first cut or loss of a trial on."""


async def describe(record: Mapping[str, Any]) -> dict[str, Any]:
    """The machine, its software and the lab's record, now."""
    machine = await asyncio.to_thread(_machine)
    return {
        **machine,
        "packages": await _packages(),
        "project": await _project(),
        "lab": _lab(record),
    }


def _lab(record: Mapping[str, Any]) -> dict[str, Any]:
    """The lab's record, without what comes and goes while it stays the same lab: its agents, and the numbers
    of the programs that cut and lose."""
    networks = {
        name: {key: value for key, value in network.items() if key != "gate"}
        for name, network in record["networks"].items()
    }
    return {key: value for key, value in record.items() if key != "agents"} | {"networks": networks}


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What differs between two descriptions although it should not, as "place: before -> after"."""
    left, right = dict(flat(before)), dict(flat(after))
    return [
        f"{place}: {left.get(place)} -> {right.get(place)}"
        for place in sorted(left.keys() | right.keys())
        if left.get(place) != right.get(place)
        and place.split(".", 1)[0] not in VOLATILE
        and place.rpartition(".")[2] not in NUMBERS
    ]


def _machine() -> dict[str, Any]:
    cpu = Path("/sys/devices/system/cpu")
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "load_average": list(os.getloadavg()),
        "page_touch_us": page_touch_us(),
        "kernel": platform.release(),
        "kernel_build": platform.version(),
        "hz": _hz(),
        "distribution": platform.freedesktop_os_release().get("PRETTY_NAME", "unknown"),
        "cpu_model": _field("/proc/cpuinfo", "model name"),
        "cpus": os.cpu_count(),
        "governor": _read(cpu / "cpu0/cpufreq/scaling_governor"),
        "mitigations": {one.name: _read(one) for one in sorted((cpu / "vulnerabilities").glob("*"))},
        "clocksource": _read(Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")),
        "memory": _field("/proc/meminfo", "MemTotal"),
        "cgroup_version": 2 if Path("/sys/fs/cgroup/cgroup.controllers").exists() else 1,
        "sysctls": {name: _read(Path("/proc/sys") / name) for name in SYSCTLS},
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in LIBRARIES},
    }


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return None


def _field(path: str, name: str) -> str | None:
    for line in (_read(Path(path)) or "").splitlines():
        if line.startswith(name):
            return line.partition(":")[2].strip()
    return None


def _hz() -> int | None:
    """The kernel's tick rate, where the distribution tells it."""
    for line in (_read(Path(f"/boot/config-{platform.release()}")) or "").splitlines():
        if line.startswith("CONFIG_HZ="):
            return int(line.partition("=")[2])
    return None


def _version(library: str) -> str | None:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None


async def _packages() -> dict[str, str]:
    """Versions of the distribution's packages that matter, of those installed."""
    form = "${Package} ${Version}\n"
    text = await _output("dpkg-query", "--show", f"--showformat={form}", *PACKAGES)
    return dict(line.split(" ", 1) for line in text.splitlines() if not line.endswith(" "))


async def _project() -> dict[str, Any]:
    """The commit this program is from, and whether files differ from it; empty outside a repository."""
    commit = (await _output("git", "-C", str(PROJECT), "rev-parse", "HEAD")).strip()
    if not commit:
        return {}
    changed = await _output("git", "-C", str(PROJECT), "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": bool(changed.strip())}


async def _output(*argv: str) -> str:
    """What a command prints; nothing when it is not there, fails or takes too long."""
    if shutil.which(argv[0]) is None:
        return ""
    process = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(5):
            out, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return ""
    return out.decode(errors="replace")


def flat(tree: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Every value in a tree of mappings, with its place: "lab.topology.name"."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from flat(value, f"{place}.{key}" if place else str(key))
    else:
        yield place, tree
