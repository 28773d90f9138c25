"""The images that tests need, made of the machine's own mirror: the base of ours, and Debian's Prometheus."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.compose.engine import Engine
from tests.orchestrator.processes import REPOSITORY

BASE = "transship-test-base"
PROMETHEUS = "transship-test-prometheus"
RECIPE = "2"
SLIM = "force-unsafe-io\n" + "".join(
    f"path-exclude /usr/share/{name}/*\n" for name in ("doc", "locale", "man")
)
"""What dpkg leaves out in Debian's own slim images: waiting for the disk, and what only people read."""
PIP = "[global]\nno-index = true\nfind-links = /opt/wheels\n"


def cache() -> Path:
    """Where what was fetched once is kept: the folder that ./transship test names."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(os.environ.get("TRANSSHIP_CACHE") or home / "transship")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def base(engine: Engine, folder: Path) -> None:
    """Has the base image: a minimal Debian with all that ./transship will ask apt and pip for.

    So the build needs no network, and the Dockerfile no word about the machine's mirrors.
    """
    release = dict(re.findall(r'^(\w+)="?([^"\n]*)', Path("/etc/os-release").read_text(), re.MULTILINE))
    wanted = re.search(r"^packages=\((.+)\)$", (REPOSITORY / "transship").read_text(), re.MULTILINE)
    assert wanted is not None
    lock = REPOSITORY / "requirements.lock"
    parts = (RECIPE, release.get("VERSION_CODENAME", ""), wanted[1], lock.read_text())
    kept = cache() / f"base-{hashlib.sha256(repr(parts).encode()).hexdigest()[:16]}.tar"
    if not kept.exists():
        root = folder / "base"
        try:
            _make_base(root, release["VERSION_CODENAME"], wanted[1].split())
        except (KeyError, subprocess.CalledProcessError) as error:
            said = getattr(error, "output", "") or f"{error!r} in /etc/os-release"
            pytest.skip(f"no base image can be made here: {said.strip().splitlines()[-1]}")
        fresh = kept.with_suffix(f".{os.getpid()}")
        subprocess.run(["tar", "-C", str(root), "-cf", str(fresh), "."], check=True)
        for old in cache().glob("base-*.tar"):
            old.unlink()
        fresh.rename(kept)
        shutil.rmtree(root)
    engine.docker("import", str(kept), BASE)


def _make_base(root: Path, codename: str, packages: list[str]) -> None:
    targets = _said(["apt-get", "indextargets", "--format", "$(ORIGIN) $(SITE) $(CREATED_BY)"])
    mirrors = [line.split()[1] for line in targets.splitlines() if re.match(r"Debian \S+ Packages", line)]
    if not mirrors:
        raise KeyError("a mirror of Debian")
    _said(["debootstrap", "--variant=minbase", codename, str(root), mirrors[0]])
    status = root / "var/lib/dpkg/status"
    apt = [
        "apt-get",
        "-y",
        "-o",
        f"Dir={root}",
        "-o",
        f"Dir::State::status={status}",
        "-o",
        "APT::Sandbox::User=root",
    ]
    _said([*apt, "update"])
    _said([*apt, "--no-install-recommends", "--download-only", "install", *packages])
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary", ":all:", "--require-hashes"]
    _said([*pip, "-r", str(REPOSITORY / "requirements.lock"), "-d", str(root / "opt/wheels")])
    (root / "etc/pip.conf").write_text(PIP)
    (root / "etc/dpkg/dpkg.cfg.d/slim").write_text(SLIM)


def _said(command: list[str]) -> str:
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(
        command, env=environment, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ).stdout


def prometheus(engine: Engine, folder: Path) -> None:
    """Has an image like Prometheus' own, of the programs on PATH and the libraries that they need."""
    root = folder / "prometheus"
    (root / "prometheus").mkdir(parents=True)
    os.chown(root / "prometheus", 65534, 65534)
    for name in ("prometheus", "promtool"):
        program = shutil.which(name)
        assert program is not None
        _copy(root, Path(program), Path("/bin") / name)
        for library in re.findall(r"(/\S+) \(0x", _said(["ldd", program])):
            _copy(root, Path(library), Path(library))
    with subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE) as archive:
        start = ["--change", 'ENTRYPOINT ["/bin/prometheus"]', "--change", "ENV PATH=/bin"]
        engine.docker("import", *start, "-", PROMETHEUS, stdin=archive.stdout)
    shutil.rmtree(root)


def _copy(root: Path, source: Path, place: Path) -> None:
    (root / place.relative_to("/")).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, root / place.relative_to("/"))
