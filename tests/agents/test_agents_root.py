"""Machine agent, host agents and workloads as processes on real labs: what they do and how they die."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from agents.client import AgentError
from agents.host_privileges import KEPT
from agents.processes import clean_environment
from tests.agents.machine_process import MachineProcess, machine_process, small_lab
from tests.support import PATIENCE_S, alive, children, eventually, state_of
from topologies.cgroups import HostCgroup, LabCgroup

pytestmark = pytest.mark.root

LAB = "agenttest"


@pytest.fixture
async def machine() -> AsyncIterator[MachineProcess]:
    async with machine_process() as running:
        await running.client.deploy(LAB, small_lab())
        yield running


def spec(workload: str = "source", system: str = "linux", **params: Any) -> dict[str, Any]:
    return {"workload": workload, "system": system, "params": params}


def status(pid: int, field: str) -> str:
    text = Path(f"/proc/{pid}/status").read_text()
    return next(line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith(f"{field}:"))


def variables(pid: int) -> set[str]:
    found = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return {variable.partition("=")[0] for variable in found if variable}


def descriptors(pid: int) -> list[str]:
    return sorted(os.readlink(link).partition(":")[0] for link in Path(f"/proc/{pid}/fd").iterdir())


def cgroup(pid: int) -> str:
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    return next(
        line.split(":", 2)[2] for line in lines if "cpu" in line.split(":")[1].split(",") or line[:2] == "0:"
    )


async def killed(machine: MachineProcess, host: str) -> None:
    """SIGKILLs the agent of a host and waits until the machine agent knows."""
    os.kill(await machine.agent_pid(LAB, host), signal.SIGKILL)

    async def known() -> bool:
        return bool((await machine.client.lab(LAB))["agents"][host]["state"] == "failed")

    await eventually(known, "the machine agent to notice the death")


async def test_a_workload_runs_in_its_hosts_namespace_and_cgroup(machine: MachineProcess) -> None:
    client = machine.client
    one = await client.start(LAB, "left", spec(counters={"datagrams_out": 3}))
    state = await client.workload(LAB, "left", one)
    pid = state["pid"]
    agent = await machine.agent_pid(LAB, "left")
    assert os.readlink(f"/proc/{pid}/ns/net") == os.readlink(f"/proc/{agent}/ns/net")
    assert os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")
    assert cgroup(pid) == f"/transship/{LAB}/left/work/io"
    assert cgroup(agent) == f"/transship/{LAB}/left/agent"
    assert state["counters"] == {"datagrams_out": 3}
    assert (await client.stop(LAB, "left", one))["state"] == "done"
    assert not alive(pid)


async def test_host_agents_and_their_children_have_few_capabilities(machine: MachineProcess) -> None:
    one = await machine.client.start(LAB, "left", spec())
    allowed = sum(1 << bit for bit in KEPT.values())
    for pid in (
        await machine.agent_pid(LAB, "left"),
        (await machine.client.workload(LAB, "left", one))["pid"],
    ):
        for field in ("CapPrm", "CapEff", "CapBnd"):  # these, no other, and as far as we have them ourselves
            assert int(status(pid, field), 16) == allowed & int(status(os.getpid(), field), 16)
        assert int(status(pid, "CapAmb"), 16) == 0
        assert status(pid, "NoNewPrivs") == "1"


async def test_children_inherit_no_descriptor_and_nothing_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SECRET", "of whoever started the machine agent")
    with tempfile.TemporaryFile() as open_file:
        os.set_inheritable(open_file.fileno(), True)
        async with machine_process() as machine:
            await machine.client.deploy(LAB, small_lab())
            one = await machine.client.start(LAB, "left", spec())
            pid = (await machine.client.workload(LAB, "left", one))["pid"]
            hog = (await machine.client.set_hogs(LAB, "left", 1))["pids"][0]
            told = await machine.client.exec(LAB, "left", ["/bin/sh", "-c", "env; ls -l /proc/self/fd"])
            names = {line.partition("=")[0] for line in told["stdout"].splitlines() if "->" not in line}
            assert names <= {*clean_environment(), "PWD", "OLDPWD", "SHLVL", "_", "total 0"}
            for process in (machine.child.pid, await machine.agent_pid(LAB, "left"), pid, hog):
                assert variables(process) == {*clean_environment()}
            for process in (pid, hog):  # the memory that its counters are in, and three pipes
                assert descriptors(process) == ["/memfd", "pipe", "pipe", "pipe"]


async def test_a_host_agent_has_one_thread(machine: MachineProcess) -> None:
    """Code runs between its forks and execs, and its children's lives hang on the thread that forked."""
    await machine.client.start(LAB, "left", spec())
    assert status(await machine.agent_pid(LAB, "left"), "Threads") == "1"


async def test_a_workload_can_end_on_a_budget_it_has_used_up(machine: MachineProcess) -> None:
    client = machine.client
    one = await client.start(LAB, "left", spec())
    await client.set_hogs(LAB, "left", 3)
    await client.set_budget(LAB, "left", 1000, 1_000_000)
    assert (await client.stop(LAB, "left", one))["state"] == "done"
    assert (await client.set_hogs(LAB, "left", 0))["running"] == 0


async def test_sockets_are_their_owners_only(machine: MachineProcess) -> None:
    await machine.client.start(LAB, "left", spec())
    for path in (machine.run_root / "machine.sock", machine.run_root / LAB / "left.sock"):
        assert path.stat().st_mode & 0o777 == 0o600
    assert machine.run_root.stat().st_mode & 0o777 == 0o700


async def test_hogs_compete_in_cgroups_of_their_own(machine: MachineProcess) -> None:
    client = machine.client
    answer = await client.set_hogs(LAB, "left", 3)
    assert (answer["count"], answer["running"]) == (3, 3)
    groups = [f"/transship/{LAB}/left/work/hog-{i}" for i in (1, 2, 3)]
    assert [cgroup(pid) for pid in answer["pids"]] == groups
    os.kill(answer["pids"][0], signal.SIGKILL)

    async def missed() -> bool:
        return (await client.host_counters(LAB, "left"))["hogs.running"] == 2

    await eventually(missed, "the dead hog to be missed")
    again = await client.set_hogs(LAB, "left", 2)
    assert again["running"] == 2 and answer["pids"][2] not in again["pids"]
    assert (await client.set_hogs(LAB, "left", 0))["pids"] == []
    assert not any(alive(pid) for pid in [*answer["pids"], *again["pids"]])


async def test_a_budget_holds_the_hosts_work(machine: MachineProcess) -> None:
    await machine.client.set_budget(LAB, "left", 5000, 50_000)
    assert "cpu.nr_periods" in await machine.client.host_counters(LAB, "left")
    await machine.client.set_budget(LAB, "left", None, 50_000)


async def test_commands_run_on_the_host(machine: MachineProcess) -> None:
    client = machine.client
    answer = await client.exec(LAB, "left", ["/bin/sh", "-c", "cat /proc/net/dev; echo oops >&2; exit 4"])
    assert (answer["exit"], answer["stderr"], answer["truncated"]) == (4, "oops\n", False)
    assert "eth0" in answer["stdout"] and "eth1" not in answer["stdout"]
    answer = await client.exec(LAB, "left", ["head", "-c", "3000000", "/dev/zero"])
    assert len(answer["stdout"]) == 1 << 20 and answer["truncated"]
    with pytest.raises(AgentError, match="cannot run '/nonexistent': No such file"):
        await client.exec(LAB, "left", ["/nonexistent"])


async def test_metrics_are_prometheus_text_and_cost_the_workload_nothing(machine: MachineProcess) -> None:
    client = machine.client
    counters = {"datagrams_in": 4, "bytes_out": 8, "drop_queue": 2, "containers_free": 6, "ring_a_backlog": 1}
    one = await client.start(LAB, "left", spec("sink", counters=counters))
    pid = (await client.workload(LAB, "left", one))["pid"]
    await eventually(lambda: state_of(pid) == "S", "the workload to wait for its next command")
    switches = status(pid, "voluntary_ctxt_switches")
    families = text_string_to_metric_families((await client.metrics(LAB, "left")).decode())
    samples = {
        (
            sample.name,
            *(value for key, value in sorted(sample.labels.items()) if key not in ("lab", "host")),
        ): sample.value
        for family in families
        for sample in family.samples
    }
    assert samples["transship_datagrams_total", "in", "linux", "sink"] == 4
    assert samples["transship_bytes_total", "out", "linux", "sink"] == 8
    assert samples["transship_dropped_datagrams_total", "queue"] == 2
    assert samples["transship_containers", "free"] == 6
    assert samples["transship_ring_backlog", "a"] == 1
    assert samples["transship_workloads", "running", "linux", "sink"] == 1
    assert samples["transship_cpu_seconds_total", "agent"] > 0
    assert status(pid, "voluntary_ctxt_switches") == switches


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


async def test_ten_destroys_at_once_and_one_during_a_deploy(machine: MachineProcess) -> None:
    await asyncio.gather(*(machine.client.destroy(LAB) for _ in range(10)))
    deploying = asyncio.create_task(machine.client.deploy(LAB, small_lab()))
    await eventually(lambda: (machine.run_root / LAB).exists() or deploying.done(), "the deploy to begin")
    await machine.client.destroy(LAB)
    await asyncio.gather(deploying, return_exceptions=True)
    assert await machine.client.labs() == []
    assert not (machine.run_root / LAB).exists()


async def test_a_hundred_workloads_leave_no_descriptor_and_no_zombie(machine: MachineProcess) -> None:
    client = machine.client
    await client.start(LAB, "left", spec())
    agent = await machine.agent_pid(LAB, "left")

    async def one_after_another() -> None:
        for _ in range(25):
            one = await client.start(LAB, "left", spec("forwarder", behave="finish"))
            await client.stop(LAB, "left", one)

    await one_after_another()
    before = [len(os.listdir(f"/proc/{pid}/fd")) for pid in (agent, machine.child.pid)]
    await asyncio.gather(*(one_after_another() for _ in range(4)))
    after = [len(os.listdir(f"/proc/{pid}/fd")) for pid in (agent, machine.child.pid)]
    assert max(b - a for a, b in zip(before, after, strict=True)) <= 8  # kept-alive connections
    assert len(children(agent)) == 1


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
