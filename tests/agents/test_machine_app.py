"""The machine agent over HTTP, with labs that exist on paper only: what it accepts, refuses and says."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from agents.client import AgentError, MachineClient
from agents.machine_app import MachineApp
from agents.machine_builder import Progress
from agents.machine_labs import Labs
from tests.support import PATIENCE_S, eventually
from topologies import Topology, load_topology, shipped
from topologies.builder import DeployError, LabError, LabExists, PartlyChanged
from topologies.builder.apply import planned
from topologies.builder.difference import Change, difference
from topologies.builder.plan import plan
from topologies.model import Impairments
from topologies.record import Record


class PaperBuilder:
    """Plans labs and remembers which there are. `hold` keeps a deploy going, `fault` makes calls fail."""

    def __init__(self) -> None:
        self.labs: dict[str, Record] = {}
        self.hold = threading.Event()
        self.hold.set()
        self.begun = 0
        self.destroyed = 0
        self.fault: Exception | None = None

    def deploy(self, lab: str, topology: Topology, run_root: Path, progress: Progress) -> Record:
        if self.fault is not None:
            raise self.fault
        progress("begin", 0, 2)
        self.begun += 1
        while not self.hold.wait(0.01):
            progress("middle", 1, 2)
        record = plan(lab, topology, run_root / lab, [0, 1])
        self.labs[lab] = record
        return record

    def destroy(self, lab: str, run_root: Path) -> None:
        if self.fault is not None:
            raise self.fault
        self.destroyed += lab in self.labs
        self.labs.pop(lab, None)

    def difference(self, record: Record, topology: Topology) -> list[Change]:
        return difference(record, planned(record, topology))

    def apply(
        self, record: Record, topology: Topology, leaving: Callable[[list[str]], None]
    ) -> tuple[Record, list[Change]]:
        if self.fault is not None:
            raise self.fault
        after = planned(record, topology)
        leaving([host for host in record.hosts if host not in after.hosts])
        return after, difference(record, after)

    def set_network(
        self, record: Record, network: str, rate_mbps: float | None, impairments: Impairments | None
    ) -> Record:
        changed = record.model_copy(deep=True)
        changed.networks[network].rate_mbps = rate_mbps
        if impairments is not None:
            changed.networks[network].impairments = impairments
        return changed

    def set_cut(self, record: Record, network: str, host: str | None, cut: bool) -> Record:
        changed = record.model_copy(deep=True)
        for port in changed.networks[network].port_details:
            port.cut = cut if port.host == host else port.cut
        changed.networks[network].cut = cut if host is None else changed.networks[network].cut
        return changed

    def set_stopped(self, record: Record, host: str, stopped: bool) -> Record:
        changed = record.model_copy(deep=True)
        changed.hosts[host].stopped = stopped
        return changed

    def counters(self, record: Record) -> dict[str, int]:
        return {"source.eth0.rx_packets": 3}

    def traffic(self, record: Record) -> dict[str, dict[str, Any]]:
        return {
            name: {
                **{"bytes": 5, "backlog_bytes": 0, "drops": {"queue": 0, "cut": 2}},
                "links": {
                    port.host: {"to_bytes": 1, "from_bytes": 2} for port in network.port_details if port.host
                },
            }
            for name, network in record.networks.items()
        }


@pytest.fixture
def run_root() -> Iterator[Path]:
    # a Unix socket's path may have 107 bytes, which pytest's own directories can exceed
    path = Path(tempfile.mkdtemp(prefix="ts-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def builder() -> PaperBuilder:
    return PaperBuilder()


@pytest.fixture
async def client(run_root: Path, builder: PaperBuilder) -> AsyncIterator[MachineClient]:
    labs = Labs(run_root, builder, ["/nonexistent"])
    runner = web.AppRunner(MachineApp(labs, run_root).app(), access_log=None)
    await runner.setup()
    await web.UnixSite(runner, str(run_root / "m.sock")).start()
    async with MachineClient(run_root / "m.sock") as machine:
        yield machine
    await runner.cleanup()


@pytest.fixture
def fddi() -> dict[str, Any]:
    return load_topology(shipped()["two-fddi"]).model_dump(mode="json")


def problem(caught: pytest.ExceptionInfo[AgentError]) -> tuple[int, str | None]:
    return caught.value.status, caught.value.field


async def test_a_lab_is_deployed_once_and_shown(client: MachineClient, fddi: dict[str, Any]) -> None:
    record = await client.deploy("one", fddi)
    assert await client.deploy("one", fddi) == record
    assert [i["network"] for i in record["hosts"]["middle"]["interfaces"]] == ["ring-a", "ring-b"]
    lab = await client.lab("one")
    assert lab.pop("agents")["sink"] == {"state": "none", "pid": None, "message": ""}
    assert lab == record
    assert (await client.labs())[0]["networks"] == ["ring-a", "ring-b"]
    assert (await client.health())["labs"] == 1


async def test_another_topology_under_the_same_name_is_refused(
    client: MachineClient, fddi: dict[str, Any]
) -> None:
    await client.deploy("one", fddi)
    fddi["networks"]["ring-a"]["rate_mbps"] = 50.0
    with pytest.raises(AgentError, match="another topology") as caught:
        await client.deploy("one", fddi)
    assert problem(caught) == (409, "lab")


async def test_what_is_wrong_with_a_topology_is_named_place_by_place(
    client: MachineClient, fddi: dict[str, Any], builder: PaperBuilder
) -> None:
    fddi["networks"]["ring-a"]["rate_mbps"] = 0
    fddi["hosts"]["$(touch x)"] = {}
    with pytest.raises(AgentError) as caught:
        await client.deploy("one", fddi)
    assert caught.value.status == 422
    places = {found["place"] for found in caught.value.problems}
    assert "networks.ring-a.rate_mbps" in places and len(places) == 2
    assert builder.labs == {}


@pytest.mark.parametrize("name", ["-rf", "$(touch x)", "..", "A", "a" * 32, "a\n", "a/../../b"])
async def test_a_lab_has_a_name_of_the_whitelist(
    client: MachineClient, fddi: dict[str, Any], name: str, builder: PaperBuilder
) -> None:
    with pytest.raises(AgentError) as caught:
        await client.deploy(name, fddi)
    assert caught.value.status in (404, 422)  # ".." is no name for a client's URL either
    assert builder.labs == {}


async def test_what_is_not_there_is_named(client: MachineClient, fddi: dict[str, Any]) -> None:
    await client.deploy("one", fddi)
    for call, words in (
        (client.lab("two"), "there is no lab 'two'"),
        (client.counters("two"), "there is no lab 'two'"),
        (client.set_network("one", "ring-z", 5.0), "there is no network 'ring-z' in lab 'one'"),
        (client.set_budget("one", "nobody", None, 1000), "there is no host 'nobody' in lab 'one'"),
        (client.workload("one", "sink", "x-1"), "there is no workload 'x-1' in host 'sink' of lab 'one'"),
        (client.stop("one", "sink", "x-1"), "there is no workload 'x-1'"),
        (client.metrics("one", "nobody"), "there is no host 'nobody'"),
    ):
        with pytest.raises(AgentError) as caught:
            await call
        assert caught.value.status == 404
        assert words in caught.value.detail


async def test_requests_out_of_bounds_are_refused_with_their_field(
    client: MachineClient, fddi: dict[str, Any]
) -> None:
    await client.deploy("one", fddi)
    spec = {"workload": "source", "system": "linux", "params": {}}
    for call, field in (
        (client.set_hogs("one", "sink", 65), "count"),
        (client.set_hogs("one", "sink", -1), "count"),
        (client.set_network("one", "ring-a", 0.0), "rate_mbps"),
        (client.set_network("one", "ring-a", float("1e9")), "rate_mbps"),
        (client.set_budget("one", "sink", 1, 1000), "quota_us"),
        (client.set_budget("one", "sink", 2000, 10_000_000), "period_us"),
        (client.start("one", "sink", {**spec, "extra": 1}), "extra"),
        (client.start("one", "sink", {**spec, "workload": "../x"}), "workload"),
        (client.start("one", "sink", {**spec, "workload": "hog"}), "workload"),
        (client.start("one", "sink", {**spec, "params": {"x": "y" * 40_000}}), None),
        (client.exec("one", "sink", []), "argv"),
        (client.exec("one", "sink", [""]), "argv"),
        (client.exec("one", "sink", ["x"] * 65), "argv"),
        (client.exec("one", "sink", ["x" * 5000]), "argv.0"),
        (client.exec("one", "sink", ["x\0y"]), "argv.0"),
        (client.tell("one", "sink", "x-1", {"command": "stop"}), None),
    ):
        with pytest.raises(AgentError) as caught:
            await call
        assert problem(caught) == (422, field)


async def test_bodies_that_are_no_json_or_too_long_are_refused(run_root: Path, client: MachineClient) -> None:
    connector = aiohttp.UnixConnector(path=str(run_root / "m.sock"))
    async with aiohttp.ClientSession("http://agent", connector=connector) as session:
        for body, status in (
            (b"{", 400),
            (b"[" * 100_000, 400),
            (b'{"hosts": {"a": {}, "a": {}}}', 400),
            (b'{"rate_mbps": NaN}', 400),
            (b"x" * (2 << 20), 413),
            (b"[]", 422),
        ):
            async with session.put("/labs/one", data=body) as answer:
                assert (answer.status, answer.content_type) == (status, "application/problem+json")
                assert (await answer.json())["status"] == status
        for method, path, status in (("GET", "/nothing", 404), ("POST", "/labs", 405)):
            async with session.request(method, path) as answer:
                assert (answer.status, answer.content_type) == (status, "application/problem+json")


async def test_destroying_twice_or_ten_times_at_once_is_destroying(
    client: MachineClient, fddi: dict[str, Any], builder: PaperBuilder
) -> None:
    await client.destroy("never-was")
    await client.deploy("one", fddi)
    await asyncio.gather(*(client.destroy("one") for _ in range(10)))
    assert builder.labs == {} and builder.destroyed == 1
    await client.destroy("one")
    await client.deploy("one", fddi)


async def test_a_lab_can_be_destroyed_while_it_is_being_deployed(
    client: MachineClient, fddi: dict[str, Any], builder: PaperBuilder
) -> None:
    builder.hold.clear()
    deploying = asyncio.create_task(client.deploy("one", fddi))
    await eventually(lambda: builder.begun, "the deploy to be under way")
    await asyncio.wait_for(client.destroy("one"), PATIENCE_S)
    with pytest.raises(AgentError, match="destroyed while it was being deployed"):
        await deploying
    assert builder.labs == {}


async def test_a_lab_deployed_while_it_is_destroyed_stands_in_the_end(
    client: MachineClient, fddi: dict[str, Any], builder: PaperBuilder
) -> None:
    await client.deploy("one", fddi)
    await asyncio.gather(client.destroy("one"), client.deploy("one", fddi), client.deploy("one", fddi))
    await client.deploy("one", fddi)
    assert set(builder.labs) == {"one"}


async def test_a_failed_deploy_leaves_no_lab_and_says_why(
    client: MachineClient, fddi: dict[str, Any], builder: PaperBuilder
) -> None:
    for fault, status in ((DeployError("no more veths"), 500), (LabExists("namespace is taken"), 409)):
        builder.fault = fault
        with pytest.raises(AgentError) as caught:
            await client.deploy("one", fddi)
        assert (caught.value.status, caught.value.detail) == (status, str(fault))
        assert await client.labs() == []
    builder.fault = None
    await client.deploy("one", fddi)


async def test_a_network_gets_another_rate(client: MachineClient, fddi: dict[str, Any]) -> None:
    await client.deploy("one", fddi)
    record = await client.set_network("one", "ring-a", 250.0)
    assert record["networks"]["ring-a"]["rate_mbps"] == 250.0
    assert (await client.lab("one"))["networks"]["ring-a"]["rate_mbps"] == 250.0
    assert await client.counters("one") == {"source.eth0.rx_packets": 3}


async def test_a_network_gets_impairments_and_keeps_them(client: MachineClient, fddi: dict[str, Any]) -> None:
    await client.deploy("one", fddi)
    wanted = {"loss": 0.1, "seed": 7, "delay_ms": 2.0, "jitter_ms": 1.0}
    record = await client.set_network("one", "ring-a", 50.0, wanted)
    assert record["networks"]["ring-a"]["impairments"] == wanted
    record = await client.set_network("one", "ring-a", 60.0)
    assert record["networks"]["ring-a"]["impairments"] == wanted
    with pytest.raises(AgentError) as caught:
        await client.set_network("one", "ring-a", 60.0, {"loss": 1.5})
    assert problem(caught) == (422, "impairments.loss")


async def test_a_stopped_host_refuses_all_until_it_is_started(
    client: MachineClient, fddi: dict[str, Any]
) -> None:
    await client.deploy("one", fddi)
    for _ in range(2):
        assert (await client.stop_host("one", "sink"))["hosts"]["sink"]["stopped"]
    assert (await client.lab("one"))["agents"]["sink"]["state"] == "stopped"
    for call in (client.exec("one", "sink", ["true"]), client.workloads("one", "sink")):
        with pytest.raises(AgentError, match="host 'sink' of lab 'one' is stopped") as caught:
            await call
        assert caught.value.status == 409
    for _ in range(2):
        assert not (await client.start_host("one", "sink"))["hosts"]["sink"]["stopped"]
    assert await client.workloads("one", "sink") == []


async def test_networks_and_links_are_cut_and_healed(client: MachineClient, fddi: dict[str, Any]) -> None:
    await client.deploy("one", fddi)
    assert (await client.cut("one", "ring-a"))["networks"]["ring-a"]["cut"]
    ports = (await client.cut("one", "ring-a", "middle"))["networks"]["ring-a"]["port_details"]
    assert [port["host"] for port in ports if port["cut"]] == ["middle"]
    assert not (await client.heal("one", "ring-a"))["networks"]["ring-a"]["cut"]
    for call, words in (
        (client.cut("one", "ring-z"), "there is no network 'ring-z' in lab 'one'"),
        (client.heal("one", "ring-a", "nobody"), "there is no host 'nobody' in lab 'one'"),
        (client.stop_host("two", "sink"), "there is no lab 'two'"),
    ):
        with pytest.raises(AgentError, match=words) as caught:
            await call
        assert caught.value.status == 404


async def test_a_lab_is_seen_as_a_whole_and_no_agent_is_started(
    client: MachineClient, fddi: dict[str, Any]
) -> None:
    await client.deploy("one", fddi)
    await client.stop_host("one", "sink")
    await client.cut("one", "ring-a")
    await client.cut("one", "ring-b", "middle")
    seen = await client.look("one")
    assert {name: host["state"] for name, host in seen["hosts"].items()} == {
        **{"source": "idle", "middle": "idle", "sink": "stopped"}
    }
    assert all(host["said"] is None for host in seen["hosts"].values())
    ring_a, ring_b = seen["networks"]["ring-a"], seen["networks"]["ring-b"]
    assert (ring_a["state"], ring_a["rate_mbps"], ring_a["loss"]) == ("cut", 100.0, 0.0)
    assert (ring_b["state"], ring_b["medium"], ring_b["drops"]) == (
        "running",
        "shared",
        {"queue": 0, "cut": 2},
    )
    assert {name: link["state"] for name, link in ring_b["links"].items()} == {
        **{"middle": "cut", "sink": "running"}
    }
    text = (await client.lab_metrics("one")).decode()
    assert 'transship_network_up{lab="one",network="ring-a"} 0\n' in text
    assert 'transship_network_dropped_total{lab="one",network="ring-b",place="cut"} 2\n' in text
    assert 'transship_host_agent_state{lab="one",host="sink",state="stopped"} 1\n' in text
    assert (await client.lab("one"))["agents"]["middle"]["state"] == "none"
    for call in (client.look("two"), client.lab_metrics("two")):
        with pytest.raises(AgentError, match="there is no lab 'two'"):
            await call


async def test_another_topology_is_applied_and_hosts_come_and_go(
    client: MachineClient, fddi: dict[str, Any]
) -> None:
    await client.deploy("one", fddi)
    fddi["hosts"]["extra"] = {"cpus": None}
    fddi["networks"]["ring-b"]["stations"] = ["middle", "extra"]
    del fddi["hosts"]["sink"]
    named = {(change["change"], change["name"]) for change in await client.difference("one", fddi)}
    assert {("add", "extra"), ("remove", "sink"), ("add", "extra/ring-b")} <= named
    assert "sink" in (await client.lab("one"))["hosts"]
    answer = await client.apply("one", fddi)
    assert {(change["change"], change["name"]) for change in answer["changes"]} == named
    lab = await client.lab("one")
    assert set(lab["agents"]) == set(lab["hosts"]) == {"source", "middle", "extra"}
    assert (await client.apply("one", fddi))["changes"] == []


async def test_a_change_that_fails_leaves_the_lab_as_it_was_or_refusing_all_but_its_end(
    client: MachineClient, fddi: dict[str, Any], builder: PaperBuilder
) -> None:
    await client.deploy("one", fddi)
    other = {
        **fddi,
        "networks": {**fddi["networks"], "ring-a": {**fddi["networks"]["ring-a"], "rate_mbps": 5.0}},
    }
    builder.fault = LabError("lab 'one' stays as it was: no more veths")
    with pytest.raises(AgentError, match="stays as it was"):
        await client.apply("one", other)
    assert (await client.lab("one"))["networks"]["ring-a"]["rate_mbps"] == 100.0
    builder.fault = PartlyChanged("lab 'one' is changed only in part, destroy it: no more veths")
    with pytest.raises(AgentError, match="only in part"):
        await client.apply("one", other)
    builder.fault = None
    with pytest.raises(AgentError, match="only in part") as caught:
        await client.lab("one")
    assert caught.value.status == 409
    assert await client.labs() == []
    assert (await client.deploy("one", other))["networks"]["ring-a"]["rate_mbps"] == 5.0


async def test_what_is_not_used_is_not_started(client: MachineClient, fddi: dict[str, Any]) -> None:
    await client.deploy("one", fddi)
    assert await client.workloads("one", "sink") == []
    assert (await client.lab("one"))["agents"]["sink"]["state"] == "none"


async def test_a_host_agent_that_cannot_start_says_why_and_may_try_again(
    client: MachineClient, fddi: dict[str, Any]
) -> None:
    await client.deploy("paper", fddi)  # there is neither a namespace nor a control group of it
    for _ in range(2):
        with pytest.raises(AgentError, match=r"host agent of paper/sink did not start: .+") as caught:
            await client.host_counters("paper", "sink")
        assert caught.value.status == 502
    assert (await client.lab("paper"))["agents"]["sink"]["state"] == "none"


async def test_a_dead_machine_agent_is_named(run_root: Path) -> None:
    async with MachineClient(run_root / "none.sock") as machine:
        with pytest.raises(AgentError, match=r"the machine agent at .*none\.sock does not answer") as caught:
            await machine.health()
    assert caught.value.status == 503
    async with MachineClient(run_root / "none.sock", lambda: "pid 7 was killed by SIGKILL") as machine:
        with pytest.raises(AgentError, match="pid 7 was killed by SIGKILL"):
            await machine.health()
