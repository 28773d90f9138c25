"""What a soak does: scenes that a seed chooses. Each leaves the orchestrator without labs, as it found it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

from benchmarks.soak.processes import descendants, kill
from orchestrator.client import Client, ClientError, Refused

SYSTEMS = ("linux", "linux-batch", "copy", "shipping")
LARGEST = 4324
"""Bytes of payload that a ring of FDDI carries in a frame."""
PATIENCE_S = 120.0
_POLL_S = 0.2

Json = dict[str, Any]


class Broken(Exception):
    """Something that must hold did not."""


def experiment(random: Random) -> Json:
    """An experiment with a way over one to three hosts, a load, and faults on a time line."""
    middles = random.choice([0, 1, 1, 2])
    shape = random.choice(["chain", "two-fddi", "two-fddi-switched"]) if middles == 1 else "chain"
    hosts = [f"w{n}" for n in range(1, middles + 3)] if shape == "chain" else ["source", "middle", "sink"]
    rings = [f"ring-{n}" for n in range(1, middles + 2)] if shape == "chain" else ["ring-a", "ring-b"]
    names = [f"part{n}" for n in range(len(hosts))]
    workloads: Json = {
        names[0]: {
            "workload": "source",
            "host": hosts[0],
            "to": names[1],
            "size": random.randint(28, LARGEST),
        }
    }
    for n in range(1, len(hosts) - 1):
        workloads[names[n]] = {
            "workload": "forwarder",
            "host": hosts[n],
            "to": names[n + 1],
            "queue": random.choice([64, 512, 1024]),
        }
    workloads[names[-1]] = {"workload": "sink", "host": hosts[-1]}
    ring, middle = random.choice(rings), hosts[len(hosts) // 2]
    faults = [
        [],
        [f"at 300ms: cut {ring}", f"at 700ms: heal {ring}"],
        [f"at 300ms: cut {middle}.{ring}", f"at 900ms: heal {middle}.{ring}"]
        if _joined(hosts, rings, middle, ring)
        else [],
        [f"at 200ms: {middle}.hogs=2", f"at 800ms: {middle}.hogs=0"],
        [f"at 500ms: {ring}.loss=0.1"],
        ["at 400ms: rate=20", f"at 800ms: {ring}.rate=30"],
    ]
    return {
        "name": "soak",
        "topology": f"chain,{len(hosts)}" if shape == "chain" else shape,
        "workloads": workloads,
        "hosts": {middle: {"hogs": random.choice([0, 1, 3]), "cpu": random.choice([0.05, 0.3])}},
        "networks": {ring: {"loss": random.choice([0.001, 0.05])}} if random.random() < 0.3 else {},
        "factors": {
            f"{names[max(1, len(names) - 2)]}.system": random.sample(SYSTEMS, 2),
            "rate": [random.choice([5, 30, 90])],
        },
        "events": random.choice(faults),
        "plan": {"trials": 1, "warmup": 0.2, "duration": 1.2, "seed": random.randint(1, 1000)},
    }


def _joined(hosts: list[str], rings: list[str], host: str, ring: str) -> bool:
    return hosts.index(host) - rings.index(ring) in (0, 1)


def measured(client: Client, random: Random, books: Callable[[str, Json], None]) -> str:
    """A run of a random experiment, sometimes paused and resumed, or cancelled; its trials go to `books`."""
    asked = experiment(random)
    run = client.create_run(asked)
    turn = random.random()
    if turn < 0.3:
        time.sleep(random.uniform(0.0, 6.0))
        with suppress(Refused):  # it may have ended by itself
            client.cancel_run(run.id) if turn < 0.1 else client.pause_run(run.id)
    ended = client.wait(run.id)
    if ended.state == "paused":
        client.resume_run(run.id)
        ended = client.wait(run.id)
    if ended.state not in ("done", "invalid", "cancelled"):
        raise Broken(f"run {run.id} {ended.state}: {ended.message}")
    for trial in client.trials(run.id):
        books(run.id, trial)
    return f"run {ended.state}"


def explored(client: Client, random: Random, server: int) -> str:
    """Labs at once, workloads by hand, faults, sometimes a killed process of ours; then all is destroyed."""
    names = [f"soak{n}" for n in range(random.randint(1, 3))]
    for name in names:
        client.create_lab(name, "two-fddi")
    _until(lambda: all(client.lab(name).state != "deploying" for name in names), "labs are deployed")
    victim = "nothing"
    for name in names:
        if client.lab(name).state != "ready":
            raise Broken(f"lab {name}: {client.lab(name).message}")
        _busy(client, random, name)
    if random.random() < 0.4:
        victim = kill(random, descendants(server))
    with suppress(ClientError):  # what was killed may be what is asked
        for name in names:
            _change(client, random, name)
    for name in names * 2:
        try:
            client.destroy_lab(name)
        except ClientError:
            if victim == "nothing":
                raise
    gone(client)
    return f"{len(names)} labs by hand, killed {victim}"


def gone(client: Client) -> None:
    """Waits until no lab is left; asks again for those whose machine agent had died."""

    def none_left() -> bool:
        try:
            for lab in client.labs():
                with suppress(ClientError):
                    client.destroy_lab(lab.name)
            return not client.labs()
        except ClientError:
            return False

    _until(none_left, "every lab is gone")


def _busy(client: Client, random: Random, lab: str) -> None:
    system = random.choice(SYSTEMS)
    client.start_workload(lab, "sink", "sink", random.choice(SYSTEMS))
    client.start_workload(lab, "middle", "forwarder", system, to="sink", network="ring-a")
    client.start_workload(
        lab, "source", "source", "linux-batch", to="middle", rate_mbps=random.choice([1.0, 20.0, 90.0])
    )


def _change(client: Client, random: Random, lab: str) -> None:
    for _ in range(random.randint(1, 5)):
        what = random.randrange(6)
        if what == 0:
            client.set_hogs(lab, "middle", random.randint(0, 3))
        elif what == 1:
            client.cut_network(lab, "ring-b")
            client.heal_network(lab, "ring-b")
        elif what == 2:
            client.stop_host(lab, "sink")
            client.start_host(lab, "sink")
        elif what == 3:
            client.set_network(lab, "ring-a", random.choice([10.0, 100.0]), loss=0.01, seed=3)
        elif what == 4:
            client.workloads(lab, "middle", 0.2)
            client.metrics(lab, "middle")
        else:
            client.execute(lab, "source", ["ping", "-c", "1", "-W", "1", "middle"])


def _until(done: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        if time.monotonic() > deadline:
            raise Broken(f"not so within {PATIENCE_S:.0f} s: {what}")
        time.sleep(_POLL_S)
