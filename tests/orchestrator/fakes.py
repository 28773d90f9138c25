"""A machine without namespaces and experiments without traffic, for everything above them."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from agents.client import Conversation, Place
from agents.errors import AgentError, Problem
from agents.pictures import Picture
from orchestrator.events import EventBus
from orchestrator.shipped import as_json
from orchestrator.store import Run
from topologies import resolve

Json = dict[str, Any]
PNG = b"\x89PNG\r\n\x1a\n" + bytes(16)


def result_of(experiment: str, verdict: str) -> Json:
    """A result in the fixed shape."""
    return {
        "experiment": experiment,
        "profile": "period",
        "verdict": verdict,
        "environment": {"kernel": "6.1"},
        "rows": [
            {
                "system": "linux-batch",
                "factors": {"hogs": 3},
                "published": 25.0,
                "unit": "Mb/s",
                "trials": 7,
                "invalid_trials": 1,
                "median": 17.25,
                "ci95": [16.5, 18.0],
                "loss": 0.81,
            },
            {
                "system": "shipping",
                "factors": {"hogs": 0},
                "published": None,
                "unit": "Mb/s",
                "trials": 7,
                "invalid_trials": 0,
                "median": 93.0,
                "ci95": [92.9, 93.0],
                "loss": 0.0,
            },
        ],
        "ratios": [
            {
                "of": "shipping",
                "to": "linux-batch",
                "factors": {"hogs": 3},
                "published": 1.3,
                "median": 1.9,
                "ci95": [1.7, 2.1],
            }
        ],
        "figure": "runs/x/figure.png",
    }


class FakeMachine:
    """Keeps labs in a dict. `refuse` makes the next deploys and changes fail, `spoil` the next changes so
    that the lab is neither old nor new; `hold` makes them wait until set.

    `started` has what workloads were started with; each has lost a quarter lately and a tenth in all.
    Half a second passes from one look to the next; `looks` counts them, and `dead` has the (lab, host) whose
    agents are dead.
    """

    def __init__(self) -> None:
        self.deployed: dict[str, Json] = {}
        self.refuse: str | None = None
        self.spoil: str | None = None
        self.hold: asyncio.Event | None = None
        self.refuse_start: AgentError | None = None
        self.started: list[Json] = []
        self.working: dict[tuple[str, str], dict[str, Json]] = {}
        self.hogs_of: Counter[tuple[str, str]] = Counter()
        self.looks: Counter[str] = Counter()
        self.dead: set[tuple[str, str]] = set()
        self.captures: list[tuple[str, Place, int | None, int]] = []
        self.consoles = 0
        self.news: asyncio.Queue[Json] = asyncio.Queue()

    async def health(self) -> Json:
        return {"status": "ok", "pid": 1, "run_root": "/none", "labs": len(self.deployed)}

    async def notices(self, after: int, wait_s: float) -> list[Json]:
        return [await self.news.get()]

    async def deploy(self, lab: str, topology: Mapping[str, Any]) -> Json:
        if self.hold is not None:
            await self.hold.wait()
        if self.refuse is not None:
            raise AgentError(500, self.refuse)
        self.deployed[lab] = record_of(lab, dict(topology))
        return self.deployed[lab]

    async def labs(self) -> list[Json]:
        return [{"lab": name} for name in self.deployed]

    async def lab(self, lab: str) -> Json:
        if self.spoil is not None:
            raise AgentError(409, self.spoil, "lab")
        return self.deployed[lab]

    async def destroy(self, lab: str) -> None:
        self.deployed.pop(lab, None)

    async def counters(self, lab: str) -> dict[str, int]:
        return {"ring-a.p-sink.cut_in_drops": 5, "sink.eth0.rx_packets": 3, "ring-a2.p3.tx_packets": 1}

    async def look(self, lab: str) -> Json:
        if lab not in self.deployed:
            raise AgentError(404, f"there is no lab {lab!r}", "lab")
        self.looks[lab] += 1
        moment = self.looks[lab] * 0.5
        record = self.deployed[lab]
        return {
            "at": 1790000000.0 + moment,
            "moment": moment,
            "hosts": {name: self._seen(lab, name, moment) for name in record["hosts"]},
            "networks": {
                name: {
                    **{"state": "cut" if network["cut"] else "running", "rate_mbps": network["rate_mbps"]},
                    **{"medium": network["medium"], "loss": network["impairments"]["loss"]},
                    **{"bytes": int(moment * 6.25e6), "backlog_bytes": 1234},
                    "drops": {"queue": 0, "cut": int(moment * 10) if network["cut"] else 0},
                    "links": {
                        port["host"]: {
                            "state": "cut" if port["cut"] else "running",
                            **{"to_bytes": int(moment * 1.25e6), "from_bytes": 0},
                        }
                        for port in network["port_details"]
                    },
                }
                for name, network in record["networks"].items()
            },
        }

    def _seen(self, lab: str, host: str, moment: float) -> Json:
        working = [one for one in self.working.get((lab, host), {}).values() if one["state"] == "running"]
        usec = {"io": int(moment * 4e5), "hogs": 0, "agent": 0}
        state, said = "idle", None
        if self.deployed[lab]["hosts"][host]["stopped"]:
            state = "stopped"
        elif (lab, host) in self.dead:
            state = "failed"
        elif working or self.hogs_of[lab, host]:
            counters = {
                **{"bytes_in": int(moment * 1.25e6), "datagrams_in": int(moment * 290)},
                **{"datagrams_expected": int(moment * 400), "datagrams_unique": int(moment * 300)},
            }
            named = ("id", "workload", "system", "state")
            state, said = (
                "running",
                {
                    **{"moment": moment, "hogs": self.hogs_of[lab, host], "managed": False},
                    "kernel": {"socket_buffer": int(moment * 7), "no_socket": 0},
                    "totals": [{"workload": "sink", "system": "linux", "counters": {"drop_sink": 0}}],
                    "gauges": {"containers_free": 100, "ring_udp9000_backlog": 3},
                    "running": [{**{n: one[n] for n in named}, "counters": counters} for one in working],
                },
            )
        return {"state": state, "cpu_usec": usec, "said": said}

    async def lab_metrics(self, lab: str) -> bytes:
        return f'transship_network_up{{lab="{lab}",network="ring-a"}} 1\n'.encode()

    async def set_network(
        self, lab: str, network: str, rate_mbps: float | None, impairments: Mapping[str, Any] | None = None
    ) -> Json:
        found = self.deployed[lab]["networks"][network]
        found["rate_mbps"] = rate_mbps
        found["impairments"].update(impairments or {})
        return self.deployed[lab]

    async def difference(self, lab: str, topology: Mapping[str, Any]) -> list[Json]:
        had = set(self.deployed[lab]["hosts"])
        return [
            {"change": change, "kind": "host", "name": name, "fields": {}}
            for change, names in (
                ("remove", had - set(topology["hosts"])),
                ("add", set(topology["hosts"]) - had),
            )
            for name in sorted(names)
        ]

    async def apply(self, lab: str, topology: Mapping[str, Any]) -> Json:
        changes = await self.difference(lab, topology)
        if self.hold is not None:
            await self.hold.wait()
        if self.refuse is not None or self.spoil is not None:
            raise AgentError(500, str(self.refuse or self.spoil))
        self.deployed[lab] = record_of(lab, dict(topology))
        return {"changes": changes, "record": self.deployed[lab]}

    async def cut(self, lab: str, network: str, host: str | None = None) -> Json:
        return self._set_cut(lab, network, host, True)

    async def heal(self, lab: str, network: str, host: str | None = None) -> Json:
        return self._set_cut(lab, network, host, False)

    def _set_cut(self, lab: str, network: str, host: str | None, cut: bool) -> Json:
        found = self.deployed[lab]["networks"][network]
        for target in [found] if host is None else [p for p in found["port_details"] if p["host"] == host]:
            target["cut"] = cut
        return self.deployed[lab]

    async def stop_host(self, lab: str, host: str) -> Json:
        self.deployed[lab]["hosts"][host]["stopped"] = True
        return self.deployed[lab]

    async def start_host(self, lab: str, host: str) -> Json:
        self.deployed[lab]["hosts"][host]["stopped"] = False
        return self.deployed[lab]

    async def set_budget(self, lab: str, host: str, quota_us: int | None, period_us: int) -> None:
        return None

    async def set_hogs(self, lab: str, host: str, count: int) -> Json:
        self.hogs_of[lab, host] = count
        return await self.hogs(lab, host)

    async def host_counters(self, lab: str, host: str) -> dict[str, int]:
        return {"udp.InDatagrams": 7}

    async def hogs(self, lab: str, host: str) -> Json:
        return {"count": self.hogs_of[lab, host], "running": self.hogs_of[lab, host], "pids": []}

    async def start(self, lab: str, host: str, spec: Mapping[str, Any]) -> str:
        if self.refuse_start is not None:
            raise self.refuse_start
        self.started.append({**spec, "lab": lab, "host": host})
        name = f"{spec['workload']}-{len(self.started)}"
        counters = {"datagrams_in": 90, "datagrams_unique": 90, "datagrams_expected": 100}
        self.working.setdefault((lab, host), {})[name] = {
            **{"id": name, "workload": spec["workload"], "system": spec["system"], "params": spec["params"]},
            **{"state": "running", "message": "", "pid": 7, "counters": counters, "result": None},
            "manager": None,
        }
        return name

    async def workloads(self, lab: str, host: str, over_s: float = 0.0) -> list[Json]:
        per_second = {"bytes_in": 1.25e6, "datagrams_unique": 75.0, "datagrams_expected": 100.0}
        working = self.working.get((lab, host), {}).values()
        return [{**one, "per_second": per_second if over_s else {}} for one in working]

    async def workload(self, lab: str, host: str, workload_id: str, wait_s: float = 0.0) -> Json:
        found = self.working.get((lab, host), {}).get(workload_id)
        if found is None:
            raise AgentError(404, f"there is no workload {workload_id!r}", "workload")
        return found

    async def tell(self, lab: str, host: str, workload_id: str, command: Mapping[str, Any]) -> None:
        return None

    async def change(self, lab: str, host: str, workload_id: str, change: Mapping[str, Any]) -> Json:
        found = await self.workload(lab, host, workload_id)
        found["params"] = {**found["params"], **change}
        return found

    async def stop(self, lab: str, host: str, workload_id: str) -> Json:
        found = await self.workload(lab, host, workload_id)
        found["state"] = "done"
        return found

    async def picture(self, lab: str, host: str, workload_id: str, width: int | None = None) -> Picture:
        found = await self.workload(lab, host, workload_id)
        if found["workload"] != "display":
            raise AgentError(409, f"{workload_id} is a {found['workload']}", "workload")
        return Picture(12, PNG + str(width).encode())

    async def metrics(self, lab: str, host: str) -> bytes:
        return f'transship_workloads{{lab="{lab}",host="{host}"}} 0\n'.encode()

    async def exec(self, lab: str, host: str, argv: Sequence[str]) -> Json:
        return {
            "exit": 3 if argv[0] == "false" else 0,
            "stdout": " ".join(argv),
            "stderr": "",
            "truncated": False,
        }

    @asynccontextmanager
    async def capture(
        self, lab: str, place: Place, limit: int | None, snaplen: int
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        self.captures.append((lab, place, limit, snaplen))
        try:
            yield self._frames(limit)
        finally:
            self.captures.pop()

    async def _frames(self, limit: int | None) -> AsyncIterator[bytes]:
        yield b"frames"
        if limit is None:
            await asyncio.Event().wait()

    @asynccontextmanager
    async def console(self, lab: str, host: str, options: Mapping[str, str]) -> AsyncIterator[Conversation]:
        self.consoles += 1
        try:
            yield Echo(options)
        finally:
            self.consoles -= 1


class Echo:
    """A console that says its options, then repeats what it hears; `exit` ends it."""

    def __init__(self, options: Mapping[str, str]) -> None:
        self._said: asyncio.Queue[bytes | str | None] = asyncio.Queue()
        self._said.put_nowait(json.dumps(dict(options)).encode())

    async def receive(self) -> bytes | str | None:
        return await self._said.get()

    async def send(self, data: bytes | str) -> None:
        self._said.put_nowait('{"exit": 4}' if data == b"exit" else data)
        if data == b"exit":
            self._said.put_nowait(None)


def record_of(lab: str, topology: Json) -> Json:
    """What a machine agent records of a lab, as far as the orchestrator looks at it."""
    interface = {
        "name": "eth0",
        "index": 2,
        "network": next(iter(topology["networks"]), None),
        "mac": "02:00:00:00:00:01",
        "address": "10.1.0.1",
        "prefix": 24,
        "mtu": 4352,
    }
    return {
        "lab": lab,
        "topology": topology,
        "hosts": {
            name: {
                "namespace": f"transship-{lab}-{name}",
                "cpus": host["cpus"],
                "interfaces": [{**interface, "peer": f"p-{name}"}],
                "stopped": False,
            }
            for name, host in topology["hosts"].items()
        },
        "networks": {
            name: {
                **{field: network[field] for field in ("medium", "rate_mbps", "mtu")},
                "impairments": {field: network[field] for field in ("loss", "seed", "delay_ms", "jitter_ms")},
                "cut": False,
                "ports": ["p1", "p2"],
                "port_details": [
                    {"name": f"p-{host}", "host": host, "cut": False} for host in topology["hosts"]
                ],
            }
            for name, network in topology["networks"].items()
        },
        "steering": {"applied": True},
    }


class FakeKeeper:
    """A machine that is up; `die` is a death, after which it is up again with no labs."""

    def __init__(self, events: EventBus, machine: FakeMachine | None = None) -> None:
        self.machine = machine or FakeMachine()
        self.events = events
        self.on_death: Callable[[str], None] = lambda message: None
        self.state = "up"

    @property
    def client(self) -> FakeMachine:
        if self.state != "up":
            raise Problem(503, "the machine agent is down")
        return self.machine

    async def available(self) -> FakeMachine:
        return self.client

    def die(self) -> None:
        self.machine.deployed.clear()
        self.on_death("the machine agent died: pid 1 was killed by SIGKILL")

    async def start(self) -> None:
        return None

    async def watch(self) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        assert not self.machine.deployed, "labs were left when the machine was stopped"

    def describe(self) -> Json:
        return {"name": "local", "state": self.state, "message": "", "pid": 1, "cpus": 2, "kernel": "6.1"}


class FakeEngine:
    """Experiments by how they behave: fddi, invalid, broken, full, endless. Told to go on, endless ends."""

    def __init__(self) -> None:
        self.at_once = 0
        self.most_at_once = 0
        self.done: list[str] = []

    def experiments(self) -> list[Json]:
        return [
            {
                "name": "fddi",
                "title": "t",
                "source": "s",
                "topologies": {"period": "two-fddi"},
                "systems": ["linux"],
                "definition": {},
            }
        ]

    def systems(self) -> list[Json]:
        return [{"name": "linux", "summary": "what Unix programs do"}]

    def topology(self, experiment: str, options: Mapping[str, Any]) -> Json:
        if experiment not in ("fddi", "invalid", "broken", "full", "endless"):
            raise Problem(
                422, f"experiment: there is no experiment {experiment!r}; there are fddi", "experiment"
            )
        return as_json(resolve("two-fddi"))

    def estimate(self, experiment: str, options: Mapping[str, Any]) -> Json:
        self.topology(experiment, options)
        return {"combinations": 2, "trials": 2, "seconds": 75.0}

    async def execute(
        self, machine: Any, lab: str, run: Run, directory: Path, report: Callable[[Json], None]
    ) -> str:
        assert lab in machine.deployed
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return await self._execute(run, directory, report)
        finally:
            self.at_once -= 1
            self.done.append(run.id)

    async def _execute(self, run: Run, directory: Path, report: Callable[[Json], None]) -> str:
        report({"phase": "trials", "done": 0, "total": 2, "seconds_left": 0.2})
        if run.experiment == "endless" and run.id not in self.done:
            await asyncio.Event().wait()
        if run.experiment == "broken":
            raise ZeroDivisionError("nothing was sent")
        if run.experiment == "full":
            raise OSError(28, "No space left on device")
        for done in (1, 2):
            await asyncio.sleep(0)
            with (directory / "trials.jsonl").open("a") as trials:
                trials.write(json.dumps({"trial": done}) + "\n")
            trial: Json = {"number": done, "system": "linux", "hogs": 0, "valid": True, "reasons": []}
            trial |= {"throughput_mbps": 91.5 + done, "loss": 0.25}
            kept = {"system": "linux", "valid": True, "balanced": True, "factors": "0 hogs", "summary": trial}
            report({"kept": kept})
            report({"phase": "trials", "done": done, "total": 2, "seconds_left": 0.1, "trial": trial})
        verdict = "invalid" if run.experiment == "invalid" else "reproduced"
        (directory / "result.json").write_text(json.dumps(result_of(run.experiment, verdict)))
        (directory / "figure.png").write_bytes(PNG)
        return verdict
