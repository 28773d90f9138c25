"""A Docker Engine for tests: in network, mount and process namespaces of its own, so that it meets no other
engine, changes nothing of the machine, and ends whole with its first process."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import pytest

from agents.host_privileges import enter_network
from tests.orchestrator.processes import REPOSITORY
from tests.support import PATIENCE_S, children, wait_until

PROGRAMS = (
    "dockerd",
    "containerd",
    "runc",
    "docker-proxy",
    "docker-init",
    "iptables",
    "docker",
    "docker-compose",
)
OLDEST = 23
"""The first Engine that knows the capabilities BPF and PERFMON."""
ENTER = 'ip link set lo up && exec dockerd "$@"'
CGROUPS = Path("/sys/fs/cgroup")
T = TypeVar("T")


def require_programs(*more: str) -> None:
    """Skips the test unless all programs can be had here."""
    missing = [name for name in (*PROGRAMS, *more) if shutil.which(name) is None]
    if missing:
        pytest.skip(
            f"not on PATH: {', '.join(missing)} (./transship test gets them, as root, from Debian's mirror)"
        )
    version = subprocess.run(["dockerd", "--version"], capture_output=True, text=True).stdout
    number = version.partition("version ")[2].partition(".")[0]
    if not number.isdecimal() or int(number) < OLDEST:
        pytest.skip(
            f"the Docker Engine on PATH is older than {OLDEST}: {version.strip() or 'it does not run'}"
        )


class Engine:
    """The engine that runs: what to call it with, and the way into its network."""

    def __init__(self, folder: Path, group: str, pid: int) -> None:
        config = folder / "client"
        config.mkdir()
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "DOCKER_CONFIG": str(config),
            "DOCKER_HOST": f"unix://{folder}/docker.sock",
        }
        self.group = group
        self.pid = pid
        network = Path(f"/proc/{pid}/ns/net")
        self._inside = ThreadPoolExecutor(1, initializer=enter_network, initargs=(network,))

    def docker(self, *arguments: str, check: bool = True, **options: object) -> str:
        """What docker says on stdout."""
        return run(["docker", *arguments], self.environment, check, **options)

    def compose(self, *arguments: str, settings: Mapping[str, str] = {}, check: bool = True) -> str:
        """What docker-compose says on stdout, of the project's file and that of the tests."""
        override = Path(__file__).parent / "override.yml"
        files = ["--env-file", os.devnull, "-f", str(REPOSITORY / "docker-compose.yml"), "-f", str(override)]
        return run(["docker-compose", *files, *arguments], {**self.environment, **settings}, check)

    def inside(self, work: Callable[[], T]) -> T:
        """Does `work` in a thread that is in the engine's network, as its user would."""
        return self._inside.submit(work).result()

    def close(self) -> None:
        self._inside.shutdown()


def run(command: list[str], environment: Mapping[str, str], check: bool, **options: object) -> str:
    """Its stdout. Fails the test with all that it said if it fails, unless not `check`."""
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, **options)  # type: ignore[call-overload]
    if check and ended.returncode != 0:
        said = (ended.stdout + ended.stderr)[-6000:]
        pytest.fail(f"{' '.join(command)}: exit status {ended.returncode}\n{said}", pytrace=False)
    return str(ended.stdout)


@contextmanager
def engine_in(folder: Path) -> Iterator[Engine]:
    """An engine with all that it has in `folder`, removed at the end with everything it started."""
    require_programs()
    config, log, group = folder / "daemon.json", folder / "log", f"transship-engine-{os.getpid()}"
    config.write_text(json.dumps({"cgroup-parent": f"/{group}"}))
    options = [
        *(
            "--config-file",
            str(config),
            "--data-root",
            str(folder / "data"),
            "--exec-root",
            str(folder / "exec"),
        ),
        *("--pidfile", str(folder / "pid"), "--host", f"unix://{folder}/docker.sock"),
    ]
    namespaces = ["--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
    with log.open("wb") as said:
        process = subprocess.Popen(
            ["unshare", *namespaces, "sh", "-c", ENTER, "sh", *options],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_until(lambda: _answers(folder) or process.poll() is not None, "the engine to answer")
        if process.poll() is not None:
            pytest.skip(f"dockerd does not run here: {log.read_text().strip().splitlines()[-1:]}")
        (daemon,) = children(process.pid)
        engine = Engine(folder, group, daemon)
        try:
            yield engine
        finally:
            engine.close()
            os.kill(daemon, signal.SIGTERM)
    finally:
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE_S)
        process.kill()
        process.wait()
        _remove_groups(group)
        shutil.rmtree(folder)


def _answers(folder: Path) -> bool:
    environment = {**os.environ, "DOCKER_HOST": f"unix://{folder}/docker.sock"}
    command = ["docker", "version", "--format", "{{.Server.Version}}"]
    return subprocess.run(command, env=environment, capture_output=True).returncode == 0


def groups_below(name: str) -> list[Path]:
    """The control groups of this name in every hierarchy and all below, children first."""
    tops = [CGROUPS / name, *(path / name for path in CGROUPS.iterdir() if path.is_dir())]
    found = [Path(folder) for top in tops for folder, _, _ in os.walk(top)]
    return sorted(found, key=lambda path: len(path.parts), reverse=True)


def _remove_groups(name: str) -> None:
    """Those that an engine leaves; whose processes have been killed and may be on their way out."""
    deadline = time.monotonic() + PATIENCE_S
    while groups := groups_below(name):
        for group in groups:
            with suppress(OSError):
                group.rmdir()
        assert time.monotonic() < deadline, f"control groups remain: {groups}"
