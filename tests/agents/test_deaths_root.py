"""Machine agent, host agents and workloads that die, hang or are told to end, on a real lab."""

from __future__ import annotations

import asyncio
import os
import re
import signal

import pytest

from agents.client import AgentError
from tests.agents.heartbeat import watch
from tests.agents.machine_process import LAB, MachineProcess, machine_process, small_lab, spec
from tests.support import PATIENCE_S, alive, eventually
from topologies.cgroups import LabCgroup

pytestmark = pytest.mark.root


async def killed(machine: MachineProcess, host: str) -> None:
    """SIGKILLs the agent of a host and waits until the machine agent knows."""
    os.kill(await machine.agent_pid(LAB, host), signal.SIGKILL)

    async def known() -> bool:
        return bool((await machine.client.lab(LAB))["agents"][host]["state"] == "failed")

    await eventually(known, "the machine agent to notice the death")


async def test_a_killed_workload_has_failed_and_its_neighbour_goes_on(machine: MachineProcess) -> None:
    client = machine.client
    one, other = await client.start(LAB, "left", spec()), await client.start(LAB, "left", spec())
    os.kill((await client.workload(LAB, "left", one))["pid"], signal.SIGKILL)
    state = await client.workload(LAB, "left", one, wait_s=30)
    assert (state["state"], state["message"]) == ("failed", "killed by signal 9 (SIGKILL)")
    assert (await client.workload(LAB, "left", other))["state"] == "running"


async def test_a_killed_host_agent_takes_its_processes_and_is_told_then_replaced(
    machine: MachineProcess,
) -> None:
    client = machine.client
    one = await client.start(LAB, "left", spec("forwarder", "shipping"))
    state = await client.workload(LAB, "left", one)
    hogs = (await client.set_hogs(LAB, "left", 2))["pids"]
    processes = [state["pid"], state["manager"]["pid"], *hogs]
    pid = await machine.agent_pid(LAB, "left")
    await killed(machine, "left")
    await eventually(lambda: not any(map(alive, processes)), "its children to be gone")
    words = rf"host agent of {LAB}/left \(pid {pid}\) was killed by signal 9 \(SIGKILL\)"
    for _ in range(2):  # looking does not use the news up
        with pytest.raises(AgentError, match=words) as caught:
            await client.workload(LAB, "left", one)
        assert caught.value.status == 503
    with pytest.raises(AgentError, match=words):
        await client.start(LAB, "left", spec())
    await client.start(LAB, "left", spec())
    with pytest.raises(AgentError, match="an agent that was started again knows none from before"):
        await client.workload(LAB, "left", one)


async def test_a_request_under_way_hears_of_the_death(machine: MachineProcess) -> None:
    one = await machine.client.start(LAB, "left", spec())
    pid = await machine.agent_pid(LAB, "left")
    os.kill(pid, signal.SIGSTOP)
    waiting = asyncio.create_task(machine.client.workload(LAB, "left", one))
    await machine.client.health()  # by now the other request has gone out as well
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(AgentError, match=rf"\(pid {pid}\) was killed by signal 9"):
        await asyncio.wait_for(waiting, PATIENCE_S)


async def test_a_lab_with_a_killed_host_agent_can_be_destroyed(machine: MachineProcess) -> None:
    await machine.client.start(LAB, "left", spec())
    await killed(machine, "left")
    await machine.client.destroy(LAB)
    assert not (machine.run_root / LAB).exists()


async def test_a_stopped_host_agent_is_noticed_killed_and_replaced() -> None:
    async with machine_process("--beat", "0.25") as machine:
        await machine.client.deploy(LAB, small_lab())
        await stop_and_replace(machine)


async def stop_and_replace(machine: MachineProcess) -> None:
    client = machine.client
    one = await client.start(LAB, "left", spec())
    pid, work = await machine.agent_pid(LAB, "left"), (await client.workload(LAB, "left", one))["pid"]
    started = await client.notices(0, 30)
    assert [(notice["host"], notice["state"]) for notice in started] == [("left", "running")]
    os.kill(pid, signal.SIGSTOP)
    (failed,) = await client.notices(started[-1]["number"], 30)
    words = rf"host agent of {LAB}/left \(pid {pid}\) did not answer for .*: it is stopped, and was killed"
    assert failed["state"] == "failed" and re.search(words, failed["message"])
    assert not alive(pid)
    await eventually(lambda: not alive(work), "its children to be gone")
    with pytest.raises(AgentError, match=words):
        await client.start(LAB, "left", spec())
    await client.start(LAB, "left", spec())
    assert (await client.notices(failed["number"], 30))[0]["state"] == "running"


async def test_a_killed_machine_agent_takes_all_and_the_next_one_cleans_up(machine: MachineProcess) -> None:
    one = await machine.client.start(LAB, "left", spec())
    processes = [
        (await machine.client.workload(LAB, "left", one))["pid"],
        await machine.agent_pid(LAB, "left"),
        *(await machine.client.set_hogs(LAB, "left", 1))["pids"],
    ]
    await machine.child.kill()
    await eventually(lambda: not any(map(alive, processes)), "all processes to be gone")
    assert (machine.run_root / LAB / "record.json").exists()
    async with machine_process(run_root=machine.run_root) as successor:
        assert await successor.client.labs() == []
        assert not (machine.run_root / LAB).exists()
        assert f"transship-{LAB}-left" not in os.listdir("/run/netns")


async def test_what_a_machine_agent_killed_in_the_middle_of_a_change_leaves_is_cleaned_by_the_next(
    machine: MachineProcess,
) -> None:
    wanted = small_lab()
    wanted["hosts"] = {"left": {}, **{f"host-{number}": {} for number in range(60)}}
    wanted["networks"]["wire"]["stations"] = list(wanted["hosts"])
    changing = asyncio.create_task(machine.client.apply(LAB, wanted))
    record = machine.run_root / LAB / "record.json"
    # On a busy machine it may have ended before anybody looks: what it made is to be cleaned all the same.
    await eventually(
        lambda: '"changing"' in record.read_text() or changing.done(), "the change to be under way"
    )
    await machine.child.kill()
    await asyncio.gather(changing, return_exceptions=True)
    assert "host-59" in record.read_text()
    async with machine_process(run_root=machine.run_root) as successor:
        assert await successor.client.labs() == []
        assert not (machine.run_root / LAB).exists()
        assert not [name for name in os.listdir("/run/netns") if name.startswith(f"transship-{LAB}-")]
        assert not LabCgroup(LAB).exists()


@pytest.mark.parametrize("way", ["stdin", "SIGTERM", "SIGINT"])
async def test_an_orderly_end_destroys_all_labs(way: str) -> None:
    async with machine_process("--until-stdin-closes") as machine:
        await machine.client.deploy(LAB, small_lab())
        one = await machine.client.start(LAB, "left", spec())
        pid = (await machine.client.workload(LAB, "left", one))["pid"]
        if way == "stdin":
            machine.child.close_input()
        else:
            machine.child.signal(signal.Signals[way])
            machine.child.signal(signal.Signals[way])
        assert await asyncio.wait_for(machine.child.wait(), PATIENCE_S) == 0
        assert not alive(pid)
        assert not (machine.run_root / LAB).exists()
        assert not (machine.run_root / "machine.sock").exists()


async def test_on_busy_cpus_a_stopped_host_agent_is_noticed_and_no_other_is_taken_for_one() -> None:
    found = await watch(2.0, "--beat", "0.25")
    assert (found.false_alarms, found.noticed_s is not None) == ([], True), found
