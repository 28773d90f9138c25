"""`doctor` answers with any rights on any kernel, says what follows, and leaves nothing behind."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from orchestrator import doctor
from orchestrator.doctor import Check, Finding, examine, usable
from orchestrator.kernel_probes import NetworkProbe

FINDINGS = TypeAdapter(list[Finding])
ROOT = Path(__file__).parent.parent.parent


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    named = {finding.name: finding for finding in findings}
    assert len(named) == len(findings), "each finding has a name of its own"
    return named


def refuse(message: str) -> str:
    raise OSError(message)


def test_both_answers_of_a_check_say_what_follows() -> None:
    yes = Check("netem", lambda: "created", "loss is possible", "loss is not possible").finding()
    no = Check("netem", lambda: refuse("absent"), "loss is possible", "loss is not possible").finding()
    assert (yes.ok, yes.detail, yes.consequence) == (True, "created", "loss is possible")
    assert (no.ok, no.detail, no.consequence) == (False, "absent", "loss is not possible")


def test_only_what_is_needed_makes_a_machine_unusable() -> None:
    def finding(ok: bool | None, needed: bool) -> Finding:
        return Finding(name="x", ok=ok, needed=needed, detail="", consequence="")

    assert usable([finding(True, True), finding(False, False), finding(None, False)])
    assert not usable([finding(False, True)])
    assert not usable([finding(None, True)]), "what could not be examined cannot be relied on"


def test_every_finding_is_complete_and_survives_json() -> None:
    findings = examine()
    assert all(finding.name and finding.detail and finding.consequence for finding in findings)
    assert FINDINGS.validate_json(FINDINGS.dump_json(findings)) == findings


@pytest.mark.parametrize(
    ("release", "ok"),
    [("5.4.0-150-generic", False), ("5.10.0-8-amd64", True), ("6.1.0", True), ("10.0-rc1", True)],
)
def test_an_old_kernel_is_named(release: str, ok: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.release", lambda: release)
    finding = by_name([check.finding() for check in doctor.machine_checks()])["kernel"]
    assert (finding.ok, finding.detail) == (ok, f"Linux {release}")


def test_a_state_directory_that_is_not_there_yet_is_judged_by_its_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRANSSHIP_STATE", str(tmp_path / "a/b"))
    assert doctor.state_disk().endswith(f"MB free for {tmp_path}/a/b")
    monkeypatch.setattr(doctor, "MIN_FREE_MB", 2**40)
    with pytest.raises(OSError, match=r"\d+ MB free"):
        doctor.state_disk()
    assert not (tmp_path / "a").exists()


@pytest.mark.root
def test_a_machine_that_runs_labs_is_usable_and_stays_as_it_was() -> None:
    def machine() -> tuple[str, list[str], list[str], str]:
        cgroups = sorted(str(path) for path in Path("/sys/fs/cgroup").glob("*/transship/*"))
        namespace = os.readlink("/proc/thread-self/ns/net")
        return namespace, sorted(os.listdir("/sys/class/net")), cgroups, Path("/proc/mounts").read_text()

    before = machine()
    findings = examine()
    assert usable(findings), [finding for finding in findings if finding.needed and not finding.ok]
    assert machine() == before


@pytest.mark.root
def test_root_without_capabilities_learns_what_it_cannot_have() -> None:
    program = "from tests.orchestrator.test_doctor import *; print(FINDINGS.dump_json(examine()).decode())"
    done = subprocess.run(
        ["setpriv", "--bounding-set=-all", sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    findings = by_name(FINDINGS.validate_json(done.stdout))
    assert findings["root"].ok
    assert findings["capability NET_ADMIN"].ok is False
    assert findings["namespaces and veth"].ok is False
    assert findings["bridge"].ok is None and findings["AF_XDP"].ok is None
    assert not usable(list(findings.values()))


def in_throw_away_namespace(use: Callable[[NetworkProbe], None]) -> None:
    """Runs `use` in a thread with a NetworkProbe, and raises what it raised."""
    errors: list[BaseException] = []

    def run() -> None:
        network = NetworkProbe()
        network.open()
        try:
            use(network)
        except BaseException as error:
            errors.append(error)
        finally:
            network.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


@pytest.mark.root
def test_what_the_kernel_does_not_have_is_said_in_words() -> None:
    with pytest.raises(OSError, match="device of kind no-kind: this kernel does not have it"):
        in_throw_away_namespace(lambda network: print(network.device("no-kind")))


@pytest.mark.root
def test_a_probe_undoes_what_it_did() -> None:
    def twice(network: NetworkProbe) -> None:
        for _ in range(2):
            network.qdisc("tbf", rate="100mbit", burst=20_000, limit=200_000)
            network.mirred()

    in_throw_away_namespace(twice)
