"""Host agents, workloads and hogs as processes on a real lab: where they run, and what they may do."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from agents.client import AgentError
from agents.host_privileges import KEPT
from agents.processes import clean_environment
from tests.agents.machine_process import LAB, MachineProcess, cgroup, machine_process, small_lab, spec
from tests.support import alive, children, eventually, state_of

pytestmark = pytest.mark.root


def status(pid: int, field: str) -> str:
    text = Path(f"/proc/{pid}/status").read_text()
    return next(line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith(f"{field}:"))


def variables(pid: int) -> set[str]:
    found = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return {variable.partition("=")[0] for variable in found if variable}


def descriptors(pid: int) -> list[str]:
    return sorted(os.readlink(link).partition(":")[0] for link in Path(f"/proc/{pid}/fd").iterdir())


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
