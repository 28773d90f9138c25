"""`./transship` sets a clone up, whatever state it is in, and says clearly why when it cannot."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support import wait_until

ROOT = Path(__file__).parent.parent
NOBODY = 65534

# Stands for the CLI: says how it was called and from where.
CLI = """
import json, os, sys
import bootstrap_probe
print(json.dumps({"arguments": sys.argv[1:], "cwd": os.getcwd(), "file": __file__, "prefix": sys.prefix,
                  "base": sys.base_prefix, "probe": bootstrap_probe.VERSION, "path": os.environ["PATH"]}))
"""
# Stands for the C library's build: one line per call.
BUILD = """
from pathlib import Path
with (Path(__file__).parent / "built").open("a") as log:
    print("built", file=log)
"""


class Clone:
    """A clone with the real `transship`, one tiny package in its lock, and a CLI that answers in JSON."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "orchestrator").mkdir(parents=True)
        (root / "agents/shipping").mkdir(parents=True)
        shutil.copy(ROOT / "transship", root)
        (root / "orchestrator/cli.py").write_text(CLI)
        (root / "agents/shipping/build.py").write_text(BUILD)
        (root / "agents/shipping/pool.c").write_text("int pages;\n")
        self.lock_package("1.0")

    def lock_package(self, version: str, digest: str | None = None) -> None:
        """Makes the lock name a package `bootstrap-probe` of that version (a wheel beside the clone)."""
        wheel = self.wheel = self.root.parent / f"bootstrap_probe-{version}-py3-none-any.whl"
        info = f"bootstrap_probe-{version}.dist-info"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("bootstrap_probe.py", f"VERSION = {version!r}\n")
            archive.writestr(
                f"{info}/METADATA", f"Metadata-Version: 2.1\nName: bootstrap-probe\nVersion: {version}\n"
            )
            archive.writestr(
                f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            archive.writestr(f"{info}/RECORD", "")
        digest = digest or hashlib.sha256(wheel.read_bytes()).hexdigest()
        lock = f"bootstrap-probe @ {wheel.as_uri()} --hash=sha256:{digest}\n"
        (self.root / "requirements.lock").write_text(lock)

    @contextmanager
    def slow_package(self) -> Iterator[None]:
        """Whoever reads the package waits for it until this ends."""
        kept = self.wheel.rename(self.wheel.with_suffix(".kept"))
        os.mkfifo(self.wheel)
        self._writer = -1
        try:
            yield
        finally:
            kept.rename(self.wheel)
            if self._writer >= 0:
                os.close(self._writer)

    def until_it_reads_the_package(self) -> None:
        """Only in a `slow_package`."""

        def is_read() -> bool:
            with suppress(OSError):  # ENXIO: there is no reader yet
                self._writer = os.open(self.wheel, os.O_WRONLY | os.O_NONBLOCK)
            return self._writer >= 0

        wait_until(is_read, "the set-up to read the package")

    def start(
        self, *arguments: str, before: tuple[str, ...] = (), path: Path | None = None, **options: Any
    ) -> subprocess.Popen[str]:
        """Starts `transship` after the words `before`, with the folder `path` first on PATH."""
        environment = {**os.environ, "TMPDIR": str(self.root.parent), **options.pop("environment", {})}
        if path is not None:
            environment["PATH"] = f"{path}:{environment['PATH']}"
        command = [*before, str(options.pop("command", self.root / "transship")), *arguments]
        return subprocess.Popen(
            command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
        )

    def call(self, *arguments: str, **options: Any) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of one call."""
        process = self.start(*arguments, **options)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    def answer(self, *arguments: str, **options: Any) -> dict[str, Any]:
        code, out, err = self.call(*arguments, **options)
        assert code == 0, err
        answer: dict[str, Any] = json.loads(out)
        return answer

    def builds(self) -> int:
        return len((self.root / "agents/shipping/built").read_text().splitlines())


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone that is set up, for the tests that only call it."""
    clone = Clone(tmp_path_factory.mktemp("ready") / "a clone with spaces")
    code, out, err = clone.call("first", stdin=subprocess.DEVNULL)
    assert code == 0, err
    assert "installing the Python packages" in err and "building the C library: done" in err
    assert json.loads(out)["arguments"] == ["first"], "stdout belongs to the verb alone"
    return clone


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path / "clone")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A folder for commands that stand before the machine's own on PATH."""
    folder = tmp_path / "path"
    folder.mkdir()
    return folder


def stand_in(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_a_second_call_does_nothing_but_the_verb(ready: Clone) -> None:
    made = {path: path.stat().st_mtime_ns for path in (ready.root / ".venv").glob("*.made")}
    code, out, err = ready.call("inspect", "a b", "--format=json")
    assert (code, err, json.loads(out)["arguments"]) == (0, "", ["inspect", "a b", "--format=json"])
    assert {path: path.stat().st_mtime_ns for path in made} == made and len(made) == 2
    assert ready.builds() == 1


def test_it_uses_the_systems_python_and_sees_its_packages(ready: Clone) -> None:
    answer = ready.answer()
    assert answer["prefix"] == str(ready.root / ".venv")
    assert answer["base"] == "/usr", "not another Python that comes first on PATH"
    assert "include-system-site-packages = true" in (ready.root / ".venv/pyvenv.cfg").read_text()


def test_it_is_called_from_another_folder_through_a_symbolic_link(ready: Clone, tmp_path: Path) -> None:
    link = tmp_path / "transship"
    link.symlink_to(ready.root / "transship")
    answer = ready.answer(command=link, cwd=tmp_path)
    assert answer["cwd"] == str(tmp_path), "relative paths on the command line are the caller's"
    assert answer["file"] == str(ready.root / "orchestrator/cli.py")


def test_the_callers_folder_and_settings_do_not_choose_the_modules(ready: Clone, tmp_path: Path) -> None:
    (tmp_path / "orchestrator").mkdir()
    for name in ("json.py", "orchestrator/cli.py", "bootstrap_probe.py"):
        (tmp_path / name).write_text("raise SystemExit('the wrong module')\n")
    settings = {"PYTHONPATH": str(tmp_path), "PYTHONHOME": str(tmp_path)}
    assert ready.answer(cwd=tmp_path, environment=settings)["probe"] == "1.0"


def test_a_clone_that_was_moved_works_at_once(clone: Clone, tmp_path: Path) -> None:
    clone.answer()
    clone.root = clone.root.rename(tmp_path / "moved here")
    code, out, err = clone.call()
    assert (code, err) == (0, "")
    assert json.loads(out)["file"] == str(clone.root / "orchestrator/cli.py")


def test_what_changed_is_made_again_and_nothing_else(clone: Clone) -> None:
    assert (clone.answer()["probe"], clone.builds()) == ("1.0", 1)

    (clone.root / "agents/shipping/pool.c").write_text("int pages, containers;\n")
    _, _, err = clone.call()
    assert "C library" in err and "Python packages" not in err
    assert clone.builds() == 2

    clone.lock_package("2.0")
    assert clone.answer()["probe"] == "2.0"


def test_two_first_calls_at_once_set_up_once(clone: Clone) -> None:
    both = [clone.start(str(number)) for number in range(2)]
    answers = [json.loads(process.communicate(timeout=120)[0]) for process in both]
    assert [answer["arguments"] for answer in answers] == [["0"], ["1"]]
    assert clone.builds() == 1


@pytest.mark.parametrize("whole_group", [True, False], ids=["with its children", "alone"])
def test_a_set_up_that_was_killed_is_started_over(clone: Clone, whole_group: bool) -> None:
    with clone.slow_package():
        first = clone.start(start_new_session=True)
        clone.until_it_reads_the_package()
        (os.killpg if whole_group else os.kill)(first.pid, signal.SIGKILL)
        first.wait()
    first.communicate()
    assert not (clone.root / ".venv/environment.made").exists()
    assert clone.answer()["probe"] == "1.0"


def test_ctrl_c_ends_the_set_up_with_a_message(clone: Clone) -> None:
    with clone.slow_package():
        process = clone.start(start_new_session=True)
        clone.until_it_reads_the_package()
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "interrupted; the next call takes the set-up up again" in err


def test_a_package_that_is_not_the_locked_one_is_refused(clone: Clone) -> None:
    clone.lock_package("1.0", digest="0" * 64)
    code, out, err = clone.call()
    assert (code, out) == (1, "")
    assert "a package is not the one that" in err
    log = re.search(r"its output is in (\S+)", err)
    assert log is not None and "bootstrap-probe" in Path(log[1]).read_text()

    clone.lock_package("1.0")
    assert clone.answer()["probe"] == "1.0"


@pytest.mark.parametrize(
    ("uname", "message"),
    [
        ("case $1 in -s) echo Darwin;; *) echo arm64;; esac", "this is Darwin; Transship needs Linux"),
        ("case $1 in -s) echo Linux;; *) echo riscv64;; esac", "this processor is riscv64"),
    ],
)
def test_another_system_is_refused(clone: Clone, path: Path, uname: str, message: str) -> None:
    stand_in(path, "uname", uname)
    code, out, err = clone.call(path=path)
    assert (code, out) == (1, "")
    assert message in err
    assert not (clone.root / ".venv").exists()


def test_a_path_that_python_cannot_have_is_refused(tmp_path: Path) -> None:
    code, _, err = Clone(tmp_path / "a:clone").call()
    assert code == 1
    assert "path has a colon" in err


@pytest.mark.root
@pytest.mark.parametrize(
    ("place", "instead", "message"),
    [
        ("/etc/os-release", 'ID=fedora\nPRETTY_NAME="Fedora Linux 40"\n', "this system is Fedora Linux 40"),
        (
            "/usr/bin/python3",
            "#!/bin/sh\necho Python 3.9.2; exit 1\n",
            "is Python 3.9.2; Transship needs Python 3.11",
        ),
    ],
)
def test_an_old_or_foreign_distribution_is_refused(
    clone: Clone, tmp_path: Path, place: str, instead: str, message: str
) -> None:
    stand_in(tmp_path, "instead", "")
    (tmp_path / "instead").write_text(instead)
    mounted = ("unshare", "-m", "sh", "-c", f'mount --bind "{tmp_path}/instead" {place} && exec "$@"', "sh")
    code, out, err = clone.call(before=mounted)
    assert (code, out) == (1, "")
    assert message in err


@pytest.mark.root
def test_without_a_network_it_says_so(clone: Clone) -> None:
    lock = f"no-such-package-{os.getpid()}==1.0 --hash=sha256:{'0' * 64}\n"
    (clone.root / "requirements.lock").write_text(lock)
    code, _, err = clone.call(before=("unshare", "-n"), environment={"PIP_RETRIES": "1"})
    assert code == 1
    assert "the network cannot be reached" in err


@pytest.mark.root
def test_a_full_disk_is_named(clone: Clone, tmp_path: Path) -> None:
    script = f'mount -t tmpfs -o size=20m tmpfs "{tmp_path}/small" && cp -a "$1" "{tmp_path}/small/clone"'
    (tmp_path / "small").mkdir()
    code, _, err = clone.call(
        before=("unshare", "-m", "sh", "-c", f'{script} && exec "{tmp_path}/small/clone/transship"', "sh"),
        command=clone.root,
    )
    assert code == 1
    assert re.search(r"has \d+ MB free; about \d+ MB are needed", err)


DPKG_QUERY = """
for package in mininet iproute2 iputils-ping ethtool libc6-dev libbpf-dev libxdp-dev python3-dev \\
    python3-venv; do
    echo "$package installed"
done
if [ -e "$(dirname "$0")/gcc" ]; then echo gcc installed; fi
"""


@pytest.mark.root
def test_missing_debian_packages_are_installed(clone: Clone, path: Path) -> None:
    stand_in(path, "dpkg-query", DPKG_QUERY)
    remember = 'if [ "$1" = update ]; then touch lists; exit; fi; [ -e lists ] && touch gcc'
    stand_in(path, "apt-get", f'cd "{path}"; echo "$@" >> calls; {remember}')
    clone.answer(path=path)
    install, update, again = (path / "calls").read_text().splitlines()
    assert update == "update", "the package lists are fetched only when they are needed"
    assert install == again
    assert install.endswith("--no-install-recommends install gcc")


# apt-get for the verb `test`: the machine's mirror has one package, and answers once `reached` is there.
APT_GET = """
here=$(dirname "$0")
echo "$@" >> "$here/calls"
case "$*" in
*indextargets*) echo "Debian http://mirror.invalid/debian Packages" ;;
*" -s "* | "-s "*) echo "Inst runc (1.1)" ;;
*) [ -e "$here/reached" ] || { echo "Could not resolve the mirror"; exit 100; } ;;
esac
case "$*" in *download*) cp "$here/probe.deb" . ;; esac
"""
IPTABLES = '#!/bin/sh\necho "$XTABLES_LIBDIR"\n'


@pytest.fixture
def mirror(ready: Clone, path: Path, tmp_path: Path) -> dict[str, Any]:
    """Options of a call on a machine that lacks what tests need, with that mirror and an empty cache."""
    stand_in(path, "apt-get", APT_GET)
    stand_in(path, "dpkg-query", DPKG_QUERY)
    (path / "gcc").touch()
    for program, text in (("dockerd", "#!/bin/sh\n"), ("iptables-nft", IPTABLES)):
        file = tmp_path / "probe/usr/sbin" / program
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)
    (tmp_path / "probe/usr/lib/x86_64-linux-gnu").mkdir(parents=True)
    (tmp_path / "probe/DEBIAN").mkdir()
    about = {"Package": "probe", "Version": "1", "Architecture": "all", "Maintainer": "-", "Description": "-"}
    control = "".join(f"{name}: {value}\n" for name, value in about.items())
    (tmp_path / "probe/DEBIAN/control").write_text(control)
    built = ["dpkg-deb", "--build", "--root-owner-group", str(tmp_path / "probe"), str(path / "probe.deb")]
    subprocess.run(built, check=True, stdout=subprocess.DEVNULL)
    return {"path": path, "environment": {"TRANSSHIP_CACHE": str(tmp_path / "cache")}}


@pytest.mark.root
def test_what_only_tests_need_is_got_for_the_verb_test_and_unpacked_beside_the_machine(
    ready: Clone, path: Path, mirror: dict[str, Any]
) -> None:
    (path / "reached").touch()
    ready.answer("inspect", **mirror)
    assert not (path / "calls").exists(), "other verbs do without"

    answer = ready.answer("test", "-x", **mirror)
    assert answer["arguments"] == ["test", "-x"]
    cache = Path(mirror["environment"]["TRANSSHIP_CACHE"])
    dockerd, iptables = (shutil.which(name, path=answer["path"]) for name in ("dockerd", "iptables"))
    assert dockerd is not None and Path(dockerd).is_relative_to(cache)
    assert iptables is not None and "/usr/lib/" in subprocess.check_output([iptables], text=True)
    calls = (path / "calls").read_text()
    assert re.search(r"install chromium debootstrap$", calls, re.MULTILINE)
    newer = re.search(r"Dir::Etc::SourceList=(\S+) .* download (.*)$", calls, re.MULTILINE)
    assert newer is not None and newer[2] == "containerd docker.io docker-cli docker-compose"
    assert not Path(newer[1]).exists() and [one.name for one in cache.iterdir()] == ["programs-1"]


@pytest.mark.root
def test_without_a_network_the_tests_begin_all_the_same(
    ready: Clone, path: Path, mirror: dict[str, Any]
) -> None:
    code, out, err = ready.call("test", **mirror)
    assert code == 0 and json.loads(out)["arguments"] == ["test"]
    assert err.count("going on without them: tests that need them are skipped") == 2
    assert "the network cannot be reached" in err
    assert list(Path(mirror["environment"]["TRANSSHIP_CACHE"]).iterdir()) == []
    for log in re.findall(r"its output is in (\S+)", err):
        assert "Could not resolve" in Path(log).read_text()


@pytest.fixture
def public_clone() -> Iterator[Clone]:
    """A clone that another user can reach and write."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o777)
        clone = Clone(Path(folder) / "clone")
        clone.root.chmod(0o777)
        yield clone


def unprivileged() -> dict[str, Any]:
    """Options of Popen that give up root, if the tests have it."""
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}


def test_without_root_it_names_the_command_for_missing_packages(public_clone: Clone) -> None:
    stand_in(public_clone.root.parent, "dpkg-query", DPKG_QUERY)
    code, out, err = public_clone.call(path=public_clone.root.parent, **unprivileged())
    assert (code, out) == (1, "")
    assert "as root, run: apt-get install --no-install-recommends gcc" in err


def test_without_root_it_sets_up_when_the_packages_are_there(public_clone: Clone) -> None:
    (public_clone.root / "agents/shipping").chmod(0o777)
    settings = {"HOME": str(public_clone.root.parent)}
    assert public_clone.answer(environment=settings, **unprivileged())["probe"] == "1.0"


def test_without_root_a_clone_of_another_user_works_once_set_up(ready: Clone, public_clone: Clone) -> None:
    shutil.copytree(ready.root, public_clone.root, symlinks=True, dirs_exist_ok=True)
    public_clone.root.chmod(0o755)
    code, _, err = public_clone.call(**unprivileged())
    assert (code, err) == (0, "")


def test_the_lock_names_versions_and_hashes_and_no_address() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock and "--index" not in lock and "--find-links" not in lock
    wanted = re.findall(r"^([A-Za-z][\w.-]*)", (ROOT / "requirements.in").read_text(), re.MULTILINE)
    locked = re.findall(r"^([a-z][\w.-]*)==\S+.*\\\n    --hash=sha256:[0-9a-f]{64}", lock, re.MULTILINE)
    assert {name.lower() for name in wanted} <= set(locked)
    assert len(locked) == len(re.findall(r"^[a-z]", lock, re.MULTILINE)), "every package has a hash"
