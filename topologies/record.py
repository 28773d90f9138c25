"""The record of a lab: everything it owns, by name, written to `record.json` before any of it is made.

Destroying a lab reads this and nothing else, so nothing is ever found by a name pattern.
"""

from __future__ import annotations

import json
import os
from ipaddress import IPv4Address
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from topologies.model import Impairments, Medium, Name, Topology

RUN_ROOT = Path("/run/transship")
RECORD_FILE = "record.json"


class RecordError(RuntimeError):
    """A record that is missing or cannot be read."""


class _Recorded(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Interface(_Recorded):
    """A host's interface; `peer` is its port's name in the lab's network namespace, `index` its ifindex."""

    name: str
    index: int
    network: str
    mac: str
    address: IPv4Address
    prefix: int
    mtu: int
    peer: str


class HostRecord(_Recorded):
    """A host: namespace under /run/netns, cgroup relative to each controller's root, CPUs of this machine.

    `stopped`: it has no processes, and its ports pass nothing.
    """

    namespace: str
    cgroup: str
    cpus: list[int] | None
    interfaces: list[Interface]
    stopped: bool = False


class Port(_Recorded):
    """A port of a network's bridge: a host's veth peer, or one end of a trunk.

    `rate_mbps` is a link's own rate (None: the network's applies); `ifb` shapes what comes in at that rate.
    `slot` is its place in the network's gate; `cut`: nothing passes it.
    """

    name: str
    index: int
    mac: str
    host: str | None
    trunk: str | None = Field(description="The other end's port, for a trunk.")
    rate_mbps: float | None
    ifb: str | None
    ifb_index: int | None
    slot: int
    cut: bool = False


class NetworkRecord(_Recorded):
    """A network in the lab's namespace. Sizes in bytes: `limit_bytes` is what a shaper's queue holds.

    `gate` is the kernel's number of the memory that `topologies.builder.gate` shares with its ports' filters,
    from the first loss or cut on; `cut`: nothing enters or leaves the network.
    """

    bridge: str
    index: int
    mac: str
    ifb: str | None
    ifb_index: int
    medium: Medium
    rate_mbps: float | None
    mtu: int
    subnet: str
    ports: list[str]
    port_details: list[Port]
    limit_bytes: int
    burst_bytes: int | None
    cpus: list[int] | None
    impairments: Impairments = Impairments()
    gate: int | None = None
    cut: bool = False


class Steering(_Recorded):
    """Where receive work was put: CPUs by host and by network; `applied` is true when the kernel confirmed.

    `shared` is true when the machine has fewer CPUs than the topology names, so that ids were taken modulo.
    """

    applied: bool
    shared: bool
    reason: str
    host: dict[str, list[int]]
    network: dict[str, list[int]]


class Record(_Recorded):
    """A lab as planned (`deploying`), as it stands (`deployed`), or on its way out (`destroying`).

    `changing`: on the way to another topology, or stuck there. It then names what there was and what comes.
    """

    lab: Name
    state: Literal["deploying", "deployed", "changing", "destroying"]
    run_dir: Path
    topology: Topology
    namespace: str
    cgroup: str
    hosts: dict[str, HostRecord]
    networks: dict[str, NetworkRecord]
    steering: Steering

    def namespaces(self) -> list[str]:
        """Every namespace of the lab, the networks' own first."""
        return [self.namespace, *(host.namespace for host in self.hosts.values())]

    def save(self) -> None:
        """Replace `record.json` in one step: a reader or a crash sees the old or the new one, never half."""
        path = self.run_dir / RECORD_FILE
        fresh = path.with_suffix(".json.new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(self.model_dump_json())
        os.replace(fresh, path)


def read_record(lab: str, run_root: Path = RUN_ROOT) -> Record | None:
    """The record of `lab`, or None when there is none.

    Raises:
        RecordError: the file is there but cannot be understood.
    """
    path = run_root / lab / RECORD_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror}") from error
    try:
        return Record.model_validate(json.loads(text))
    except (ValueError, ValidationError) as error:
        raise RecordError(f"{path} is not a record of a lab: {error}") from error
