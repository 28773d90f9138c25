"""The real workloads through the agents: datagrams get across, and what was taken is given back."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agents.client import AgentError, MachineClient
from tests.agents.machine_process import machine_process
from tests.support import eventually
from topologies import load_topology, shipped

pytestmark = pytest.mark.root

LAB = "agentreal"


class Path:
    """The way from host `source` over `middle` to `sink`, on a deployed lab."""

    def __init__(self, client: MachineClient, record: dict[str, Any]) -> None:
        self.client = client
        self._addresses = {
            (host, interface["network"]): interface["address"]
            for host, entry in record["hosts"].items()
            for interface in entry["interfaces"]
        }

    def at(self, host: str, network: str) -> str:
        return f"{self._addresses[host, network]}:9000"

    async def start(self, host: str, workload: str, system: str, **params: Any) -> str:
        spec = {"workload": workload, "system": system, "params": {"size": 4300, **params}}
        return await self.client.start(LAB, host, spec)

    async def forwarder(self, system: str) -> str:
        return await self.start(
            "middle",
            "forwarder",
            system,
            local=self.at("middle", "ring-a"),
            out_local=self._addresses["middle", "ring-b"],
            remote=self.at("sink", "ring-b"),
        )

    async def sink(self) -> str:
        return await self.start("sink", "sink", "linux-batch", local=self.at("sink", "ring-b"), flow=1)

    async def source(self, duration_s: float) -> str:
        return await self.start(
            "source",
            "source",
            "linux-batch",
            local=self._addresses["source", "ring-a"],
            remote=self.at("middle", "ring-a"),
            rate_mbps=50.0,
            warmup_s=0.1,
            duration_s=duration_s,
            flow=1,
        )


@pytest.fixture
async def path() -> AsyncIterator[Path]:
    async with machine_process(fake=False) as machine:
        topology = load_topology(shipped()["two-fddi"]).model_dump(mode="json")
        yield Path(machine.client, await machine.client.deploy(LAB, topology))


@pytest.mark.parametrize("system", ["linux", "shipping"])
async def test_datagrams_cross_a_forwarder(path: Path, system: str) -> None:
    client = path.client
    sink, forwarder = await asyncio.gather(path.sink(), path.forwarder(system))
    source = await path.source(0.3)
    sent = (await client.workload(LAB, "source", source, wait_s=30))["result"]["sent"]
    assert sent > 400

    async def arrived() -> bool:
        return bool((await client.workload(LAB, "sink", sink))["counters"]["datagrams_in"] == sent)

    await eventually(arrived, "all datagrams to arrive")
    counted = f'host="middle",workload="forwarder",system="{system}",direction="out"}} {sent}\n'

    async def told() -> bool:  # a datagram arrives before the call that sent it has returned
        return counted.encode() in await client.metrics(LAB, "middle")

    await eventually(told, "the forwarder to have counted what it sent")
    assert (await client.stop(LAB, "sink", sink))["result"]["unique"] == sent
    state = await client.stop(LAB, "middle", forwarder)
    assert state["result"]["sent"] == sent
    if system == "shipping":
        assert state["manager"]["state"] == "done"
        assert state["manager"]["result"]["backend"] in ("xdp", "packet")


async def test_a_killed_manager_fails_its_forwarder_which_can_be_started_again(path: Path) -> None:
    client = path.client
    forwarder = await path.forwarder("shipping")
    manager = (await client.workload(LAB, "middle", forwarder))["manager"]
    os.kill(manager["pid"], signal.SIGKILL)
    assert (await client.workload(LAB, "middle", forwarder, wait_s=30))["state"] == "failed"

    async def explained() -> bool:  # the forwarder may notice before the manager's death is known
        message = (await client.workload(LAB, "middle", forwarder))["message"]
        return f"its manager (pid {manager['pid']}) failed: killed by signal 9 (SIGKILL)" in message

    await eventually(explained, "the forwarder's failure to be explained")
    await path.forwarder("shipping")


async def test_what_a_workload_refuses_is_told_in_its_words(path: Path) -> None:
    with pytest.raises(AgentError, match=r"one of linux, .*expected") as caught:
        await path.start("sink", "sink", "carrier-pigeon", local=path.at("sink", "ring-b"), flow=1)
    assert caught.value.status == 422


async def test_processes_of_one_host_use_its_manager_for_their_channel(path: Path) -> None:
    client = path.client
    common: dict[str, Any] = {"channel": "local", "verify": True, "total_bytes": 64 << 17, "cpu": 0}
    reader = await client.start(LAB, "sink", {"workload": "consumer", "system": "copy", "params": common})
    spec = {"workload": "producer", "system": "shipping", "params": common}
    writer = await client.start(LAB, "sink", spec)
    read = await client.workload(LAB, "sink", reader, wait_s=30)
    assert read["state"] == "done", read
    assert (read["result"]["operations"], read["result"]["mismatches"]) == (64, 0)
    written = await client.workload(LAB, "sink", writer, wait_s=30)
    assert written["result"]["bytes"] == 64 << 17
    assert written["manager"]["pid"] == read["manager"]["pid"]


@pytest.mark.parametrize("system", ["linux", "shipping"])
async def test_a_source_changes_rate_and_size_while_it_runs(path: Path, system: str) -> None:
    client = path.client
    to = path.at("sink", "ring-b")
    sink = await path.start("sink", "sink", "linux-batch", size=65507, local=to, flow=0)
    where = {"local": path.at("middle", "ring-b").replace(":9000", ":0"), "remote": to}
    slow = {
        "size": 100,
        "rate_mbps": 0.001,
        "warmup_s": 0.1,
        "flow": 9,
    }  # the next is due after most of a second
    source = await path.start("middle", "source", system, **where, **slow)
    # Few enough datagrams that none finds a queue full on a machine that is busy for half a second.
    changed = await client.change(LAB, "middle", source, {"rate_mbps": 20.0, "size": 9000})
    assert (changed["params"]["rate_mbps"], changed["params"]["size"]) == (20.0, 9000)

    async def arrived() -> bool:
        counters = (await client.workload(LAB, "sink", sink))["counters"]
        return bool(counters["datagrams_in"] > 300)

    await eventually(arrived, "more to arrive than the old rate had sent in minutes")
    await client.change(LAB, "middle", source, {"size": 50, "rate_mbps": 0.2})
    before = (await client.workload(LAB, "sink", sink))["counters"]["datagrams_in"]

    async def smaller() -> bool:
        counters = (await client.workload(LAB, "sink", sink))["counters"]
        return bool(counters["datagrams_in"] > before + 300)

    await eventually(smaller, "smaller ones to arrive")
    result = (await client.stop(LAB, "middle", source))["result"]
    assert 9000 * 300 < result["bytes_measured"] <= 9000 * (result["sent"] - 300) + 50 * 300

    async def all_arrived() -> bool:
        counters = (await client.workload(LAB, "sink", sink))["counters"]
        return bool(counters["datagrams_in"] == result["sent"])

    await eventually(all_arrived, "all datagrams to arrive")
    state = await client.stop(LAB, "sink", sink)
    assert (state["result"]["lost"], state["counters"]["datagrams_expected"]) == (0, result["sent"])
    with pytest.raises(AgentError, match="takes no command") as caught:
        await client.change(LAB, "middle", source, {"size": 50})
    assert caught.value.status == 409


async def test_a_source_that_changes_still_takes_the_time_it_was_to_take(path: Path) -> None:
    client, slow_mbps, seconds, size = path.client, 0.1, 1.0, 250
    where = {"local": path.at("middle", "ring-b").replace(":9000", ":0"), "remote": path.at("sink", "ring-b")}
    timed = {"warmup_s": 0.1, "duration_s": seconds, "flow": 1}
    source = await path.start("middle", "source", "linux", **where, **timed, size=size, rate_mbps=slow_mbps)
    await client.change(LAB, "middle", source, {"rate_mbps": 10.0})
    state = await client.workload(LAB, "middle", source, wait_s=30)
    assert state["state"] == "done", state
    result = state["result"]
    gap_s = size * 8 / (slow_mbps * 1e6)
    assert (result["t1_ns"] - result["t0_ns"]) / 1e9 > seconds - 2 * gap_s  # it is never early
    assert result["sent_measured"] > 2 * seconds / gap_s


async def test_a_sink_of_any_flow_tells_sources_apart_and_reports_loss_as_it_goes(path: Path) -> None:
    client = path.client
    to = path.at("sink", "ring-b")
    sink = await path.start("sink", "sink", "linux", local=to, flow=0)
    for flow in range(1, 19):  # more than it keeps books of
        await path.start(
            "middle",
            "source",
            "linux",
            **{"local": path.at("middle", "ring-b").replace(":9000", ":0"), "remote": to, "size": 200},
            **{"rate_mbps": 1.0, "duration_s": 0.05, "warmup_s": 0.01, "flow": flow},
        )

    async def sent() -> list[int]:
        states = await client.workloads(LAB, "middle")
        return [state["result"]["sent"] for state in states if state["result"]]

    async def done() -> bool:
        return len(await sent()) == 18

    await eventually(done, "all sources to be done")
    total = sum(await sent())

    async def arrived() -> bool:
        return bool((await client.workload(LAB, "sink", sink))["counters"]["datagrams_in"] == total)

    await eventually(arrived, "all datagrams to arrive")
    state = await client.stop(LAB, "sink", sink)
    result, counters = state["result"], state["counters"]
    assert (result["unique"], result["duplicates"], result["reordered"], result["lost"]) == (total, 0, 0, 0)
    assert counters["datagrams_unique"] == counters["datagrams_expected"] == total


async def test_a_port_in_use_or_of_nobody_here_is_named(path: Path) -> None:
    for system in ("linux", "shipping"):
        await path.start("sink", "sink", system, local=path.at("sink", "ring-b"), flow=1)
        for local, words in (
            (path.at("sink", "ring-b"), "a port that nobody uses on this host"),
            ("10.200.0.1:9000", "an address of this host"),
        ):
            with pytest.raises(AgentError, match=rf"params.local: '{local}' given, {words}") as caught:
                await path.start("sink", "sink", system, local=local, flow=1)
            assert (caught.value.status, caught.value.field) == (422, "params.local")


async def test_rates_are_measured_over_the_time_asked_for(path: Path) -> None:
    client = path.client
    to = path.at("sink", "ring-b")
    await path.start("sink", "sink", "linux", local=to, flow=0)
    where = {"local": path.at("middle", "ring-b").replace(":9000", ":0"), "remote": to}
    await path.start("middle", "source", "linux", **where, rate_mbps=10.0, warmup_s=0.1, flow=1)

    async def flowing() -> bool:
        per_second = (await client.workloads(LAB, "sink", over_s=0.1))[0]["per_second"]
        return all(per_second.get(name, 0) > 0 for name in ("bytes_in", "datagrams_expected"))

    await eventually(flowing, "a rate to be seen")
    assert (await client.workloads(LAB, "sink"))[0]["per_second"] == {}
