"""What this machine can and cannot do for Transship, and what follows.

Most questions are answered by doing the thing and undoing it; nothing outlives the examination.
"""

import importlib.metadata
import os
import platform
import re
import shutil
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel

from orchestrator import kernel_probes
from orchestrator.kernel_probes import NetworkProbe
from orchestrator.state import state_directory
from topologies.builder.kernel import sysfs_of_thread
from topologies.cgroups import CgroupError, HostCgroup, LabCgroup

# Bit numbers of linux/capability.h, and what each is for.
CAPABILITIES = {
    "NET_ADMIN": (12, "setting up links, addresses and qdiscs"),
    "SYS_ADMIN": (21, "making namespaces"),
    "NET_RAW": (13, "AF_PACKET and AF_XDP sockets"),
    "BPF": (39, "loading the XDP program"),
    "IPC_LOCK": (14, "pinning the pool for AF_XDP"),
}
OLDEST_KERNEL = (5, 10)
MIN_FREE_MB = 200  # a run's directory takes a few MB
HUGE_PAGES = Path("/sys/kernel/mm/hugepages/hugepages-2048kB")
RECEIVE_STEERING = "devices/virtual/net/lo/queues/rx-0/rps_cpus"


class Finding(BaseModel):
    """One thing examined. `needed`: without it labs cannot be used at all, rather than with less."""

    name: str
    ok: bool | None  # None: could not be examined; `detail` says why
    needed: bool
    detail: str
    consequence: str


class Check(NamedTuple):
    """A question (`probe`: a detail, or OSError with the reason) and what follows from either answer."""

    name: str
    probe: Callable[[], str]
    if_ok: str
    if_not: str
    needed: bool = False

    def finding(self) -> Finding:
        try:
            detail, ok = self.probe(), True
        except (OSError, CgroupError) as error:
            detail, ok = getattr(error, "strerror", None) or str(error), False
        return Finding(
            name=self.name,
            ok=ok,
            needed=self.needed,
            detail=detail,
            consequence=self.if_ok if ok else self.if_not,
        )

    def unexamined(self) -> Finding:
        detail = "not examined: it takes a network namespace"
        return Finding(name=self.name, ok=None, needed=self.needed, detail=detail, consequence=self.if_not)


def examine() -> list[Finding]:
    """Examines this machine with the rights of this process (about 0.3 s, blocking)."""
    return [check.finding() for check in machine_checks()] + network_findings()


def usable(findings: list[Finding]) -> bool:
    """Whether labs can be used here, if with less than everything: all that is needed is there."""
    return all(finding.ok for finding in findings if finding.needed)


def machine_checks() -> list[Check]:
    """The checks that need no network."""
    return [
        Check("kernel", kernel, "new enough", "labs need Linux 5.10 or newer", needed=True),
        Check("root", root, "labs can be built", "no lab can be built; call transship as root", needed=True),
        *(
            Check(
                f"capability {name}",
                partial(capability, name),
                f"allows {purpose}",
                f"does not allow {purpose}",
                needed=name in ("NET_ADMIN", "SYS_ADMIN"),
            )
            for name, (_, purpose) in CAPABILITIES.items()
        ),
        Check(
            "cpus",
            cpus,
            "hosts and networks can have CPUs apart",
            "all hosts share one CPU: a result says nothing about who pays for the wire",
        ),
        Check(
            "receive steering",
            receive_steering,
            "each host pays for its own receive work",
            "receive work is paid by whoever sends; results say that steering was not applied",
        ),
        Check(
            "cgroups",
            cgroups,
            "hosts have CPUs, a CPU budget and hogs of their own",
            "no host can have CPUs, a CPU budget or hogs of its own",
            needed=True,
        ),
        Check(
            "huge pages",
            huge_pages,
            "pools of 2 MiB pages are made of the processor's own",
            "pools of 2 MiB pages are made of small ones",
        ),
        Check(
            "write revocation",
            kernel_probes.write_revocation,
            "pools can have the protection write-revoked",
            "no pool can have the protection write-revoked (it needs Linux 6.10)",
        ),
        Check(
            "write leases",
            kernel_probes.write_leases,
            "pools can have the protection strict",
            "no pool can have the protection strict (/proc/sys/fs/leases-enable must be 1)",
        ),
        Check("mininet", mininet, "topologies may be Mininet classes", "hosts cannot be made", needed=True),
        Check(
            "disk",
            state_disk,
            "results can be stored",
            "runs may fail to store their results; free some space or set TRANSSHIP_STATE",
        ),
    ]


def network_checks(network: NetworkProbe) -> list[Check]:
    """The checks that create something in the throw-away network namespace of `network`."""
    shaped = {"rate": "100mbit", "burst": 20_000, "limit": 200_000}
    return [
        Check(
            "bridge",
            lambda: network.device("bridge"),
            "networks can be built",
            "no network can be built",
            needed=True,
        ),
        Check(
            "tbf",
            lambda: network.qdisc("tbf", **shaped),
            "networks hold their rate",
            "no network can have a rate",
            needed=True,
        ),
        Check(
            "ifb",
            lambda: network.device("ifb"),
            "all stations of a shared network share its rate",
            "only networks of medium switched can have a rate",
        ),
        Check(
            "u32",
            network.u32,
            "a shared network's frames are classified",
            "only networks of medium switched can have a rate",
        ),
        Check(
            "mirred",
            network.mirred,
            "a shared network's frames reach its shaper",
            "only networks of medium switched can have a rate",
        ),
        Check(
            "netem",
            lambda: network.qdisc("netem", delay=1000),
            "networks can have delay and jitter",
            "no network can have delay or jitter",
        ),
        Check(
            "cls_bpf",
            network.cls_bpf,
            "networks can have loss and be cut, and hosts be stopped",
            "no network can have loss or be cut, no host be stopped",
        ),
        Check(
            "AF_XDP",
            network.af_xdp,
            "the stack can share its pool with the interface",
            "the stack falls back to AF_PACKET, with a copy more; results name the back end",
        ),
        Check(
            "AF_XDP multi-buffer",
            network.xdp_multi_buffer,
            "a datagram may span pages: MTU 4352 works over AF_XDP",
            "needs Linux 6.6; frames above 3840 bytes fall back to AF_PACKET",
        ),
    ]


def network_findings() -> list[Finding]:
    """Namespace and veth as one finding, then whatever can be tried with them."""
    findings: list[Finding] = []

    def in_namespace() -> None:
        network = NetworkProbe()
        opened = Check(
            "namespaces and veth",
            network.open,
            "hosts can be made and joined",
            "no host can be made",
            needed=True,
        ).finding()
        findings.append(opened)
        if not opened.ok:
            findings.extend(check.unexamined() for check in network_checks(network))
            return
        try:
            findings.extend(check.finding() for check in network_checks(network))
        finally:
            network.close()

    # A namespace belongs to a thread, and this one goes with its thread, whatever happens in it.
    thread = threading.Thread(target=in_namespace, name="doctor")
    thread.start()
    thread.join()
    return findings


def kernel() -> str:
    release = platform.release()
    numbers = tuple(int(part) for part in re.findall(r"\d+", release)[:2])
    if numbers < OLDEST_KERNEL:
        raise OSError(f"Linux {release}")
    return f"Linux {release}"


def root() -> str:
    if os.geteuid() != 0:
        raise OSError(f"user {os.geteuid()}")
    return "user 0"


def capability(name: str) -> str:
    status = Path("/proc/self/status").read_text()
    effective = int(status.split("CapEff:")[1].split()[0], 16)
    if not effective >> CAPABILITIES[name][0] & 1:
        raise OSError("not held")
    return "held"


def cpus() -> str:
    usable = len(os.sched_getaffinity(0))
    if usable < 2:
        raise OSError("1 CPU")
    return f"{usable} CPUs"


def cgroups() -> str:
    """A host's groups as a lab makes them, with a CPU set and a budget."""
    lab = LabCgroup(f"doctor-{os.getpid()}")
    host = HostCgroup(f"{lab.path}/probe", lab.layout)
    try:
        lab.create()
        host.create(cpus=[min(os.sched_getaffinity(0))])
        host.set_budget(quota_us=2_000, period_us=50_000)
    finally:
        host.destroy()
        lab.destroy()
    return f"version {lab.layout.version}: made groups with a CPU set and a budget"


def receive_steering() -> str:
    sysfs = sysfs_of_thread()  # as labs have it: a container's own /sys cannot be written
    try:
        os.close(os.open(RECEIVE_STEERING, os.O_WRONLY | os.O_CLOEXEC, dir_fd=sysfs))
    finally:
        os.close(sysfs)
    return "rps_cpus can be written"


def huge_pages() -> str:
    free = int((HUGE_PAGES / "free_hugepages").read_text())
    if os.access(HUGE_PAGES / "nr_overcommit_hugepages", os.W_OK):
        return f"{free} set aside and free; others can be made"
    if free == 0:
        raise OSError("none set aside and free, and none can be made")
    return f"{free} set aside and free"


def mininet() -> str:
    try:
        version = importlib.metadata.version("mininet")
    except importlib.metadata.PackageNotFoundError:
        raise OSError("not visible to this Python; ./transship installs Debian's package") from None
    if shutil.which("mnexec") is None:
        raise OSError(f"{version} without mnexec; ./transship installs Debian's package")
    return version


def state_disk() -> str:
    state = state_directory()
    existing = next(path for path in (state, *state.parents) if path.exists())
    if not os.access(existing, os.W_OK):
        raise OSError(f"{existing} is not writable for user {os.geteuid()}")
    free_mb = shutil.disk_usage(existing).free // 2**20
    if free_mb < MIN_FREE_MB:
        raise OSError(f"{free_mb} MB free for {state}")
    return f"{free_mb} MB free for {state}"
