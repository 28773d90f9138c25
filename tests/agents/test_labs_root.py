"""Real labs of a machine agent side by side, changed and destroyed with all that runs in them."""

from __future__ import annotations

import asyncio
import os

import pytest

from agents.client import AgentError
from tests.agents.machine_process import LAB, MachineProcess, cgroup, small_lab, spec
from tests.support import PATIENCE_S, alive, eventually
from topologies.cgroups import HostCgroup

pytestmark = pytest.mark.root


async def test_destroying_a_lab_ends_all_that_runs_in_it(machine: MachineProcess) -> None:
    client = machine.client
    one = await client.start(LAB, "left", spec("sink", "copy"))
    state = await client.workload(LAB, "left", one)
    hogs = (await client.set_hogs(LAB, "right", 2))["pids"]
    agents = [await machine.agent_pid(LAB, host) for host in ("left", "right")]
    await client.exec(LAB, "left", ["/bin/sh", "-c", "sleep 1000 >/dev/null 2>&1 &"])
    await client.destroy(LAB)
    assert not any(map(alive, [state["pid"], state["manager"]["pid"], *hogs, *agents]))
    assert not (machine.run_root / LAB).exists()


async def test_a_lab_can_be_destroyed_while_a_workload_starts(machine: MachineProcess) -> None:
    starting = asyncio.create_task(machine.client.start(LAB, "left", spec(behave="never ready")))

    async def under_way() -> bool:
        return len(await machine.client.workloads(LAB, "left")) == 1

    await eventually(under_way, "the workload to be starting")
    await asyncio.wait_for(machine.client.destroy(LAB), PATIENCE_S)
    with pytest.raises(AgentError):
        await starting
    assert not (machine.run_root / LAB).exists()


async def test_ten_destroys_at_once_and_one_during_a_deploy(machine: MachineProcess) -> None:
    await asyncio.gather(*(machine.client.destroy(LAB) for _ in range(10)))
    deploying = asyncio.create_task(machine.client.deploy(LAB, small_lab()))
    await eventually(lambda: (machine.run_root / LAB).exists() or deploying.done(), "the deploy to begin")
    await machine.client.destroy(LAB)
    await asyncio.gather(deploying, return_exceptions=True)
    assert await machine.client.labs() == []
    assert not (machine.run_root / LAB).exists()


async def test_two_labs_of_one_topology_run_apart_and_end_alone(machine: MachineProcess) -> None:
    client = machine.client
    await client.deploy("neighbour", small_lab())
    found = {}
    for lab in (LAB, "neighbour"):
        one = await client.start(lab, "left", spec("forwarder", "shipping"))
        state = await client.workload(lab, "left", one)
        found[lab] = [await machine.agent_pid(lab, "left"), state["pid"], state["manager"]["pid"]]
        assert cgroup(state["pid"]) == f"/transship/{lab}/left/work/io"
        assert (machine.run_root / lab / "left.sock").is_socket()
    spaces = {os.readlink(f"/proc/{pid}/ns/net") for pids in found.values() for pid in pids}
    assert len(spaces) == 2
    await client.destroy(LAB)
    assert not any(map(alive, found[LAB]))
    assert all(map(alive, found["neighbour"]))
    assert await machine.agent_pid("neighbour", "left") == found["neighbour"][0]


async def test_hosts_that_stay_keep_their_agents_and_workloads_when_the_lab_changes(
    machine: MachineProcess,
) -> None:
    client = machine.client
    one = await client.start(LAB, "left", spec("forwarder", "shipping"))
    workload = (await client.workload(LAB, "left", one))["pid"]
    await client.start(LAB, "right", spec())
    agents = {host: await machine.agent_pid(LAB, host) for host in ("left", "right")}
    wanted = small_lab()
    wanted["hosts"] = {"left": {}, "third": {}}
    wanted["networks"] = {
        "wire": {"stations": ["left"], "rate_mbps": 50.0},
        "second": {"stations": ["left", "third"]},
    }
    assert len(await client.difference(LAB, wanted)) == len((await client.apply(LAB, wanted))["changes"]) > 4
    assert await machine.agent_pid(LAB, "left") == agents["left"]
    assert (await client.workload(LAB, "left", one))["state"] == "running" and alive(workload)
    assert not alive(agents["right"])
    with pytest.raises(AgentError, match="there is no host 'right'"):
        await client.workloads(LAB, "right")
    # A manager that starts from now on knows the new interface.
    known = []
    for _ in range(2):
        manager = (await client.stop(LAB, "left", one))["manager"]
        known.append([interface["name"] for interface in manager["result"]["params"]["interfaces"]])
        one = await client.start(LAB, "left", spec("forwarder", "shipping"))
    assert known == [["eth0"], ["eth0", "eth1"]]
    assert (await client.exec(LAB, "third", ["ip", "-br", "addr"]))["exit"] == 0


async def test_a_stopped_host_has_no_process_left_and_starts_empty(machine: MachineProcess) -> None:
    client = machine.client
    one = await client.start(LAB, "left", spec("sink", "copy"))
    state = await client.workload(LAB, "left", one)
    hogs = (await client.set_hogs(LAB, "left", 2))["pids"]
    await client.exec(LAB, "left", ["/bin/sh", "-c", "sleep 1000 >/dev/null 2>&1 &"])
    await client.set_budget(LAB, "left", 50_000, 100_000)
    agent = await machine.agent_pid(LAB, "left")
    await client.stop_host(LAB, "left")
    assert not any(map(alive, [state["pid"], state["manager"]["pid"], *hogs, agent]))
    assert HostCgroup(f"transship/{LAB}/left").processes() == []
    with pytest.raises(AgentError, match=f"host 'left' of lab '{LAB}' is stopped"):
        await client.start(LAB, "left", spec())
    await client.start_host(LAB, "left")
    assert await client.workloads(LAB, "left") == []
    await client.start(LAB, "left", spec())
    assert (await client.host_counters(LAB, "left"))["hogs.running"] == 0
