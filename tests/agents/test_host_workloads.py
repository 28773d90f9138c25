"""What a host agent makes of its workload processes, whatever they do: a fake workload, no cgroup."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agents.errors import Problem
from agents.host_registry import ENDED_KEPT, Workloads
from agents.requests import Change, HostSetup, WorkloadSpec
from tests.support import PATIENCE_S, children, eventually

FAKE = [sys.executable, "-S", str(Path(__file__).parent / "fake_workload.py")]


@pytest.fixture
def setup(tmp_path: Path) -> HostSetup:
    return HostSetup(
        lab="lab",
        host="middle",
        namespace=Path("/nonexistent"),
        cgroup="transship/lab/middle",
        run_dir=tmp_path,
        interfaces=[{"name": "eth0"}],
        workload_command=FAKE,
    )


@pytest.fixture
async def workloads(setup: HostSetup) -> AsyncIterator[Workloads]:
    registry = Workloads(setup, place=lambda pid: None, release=lambda pid: None)
    yield registry
    await registry.kill_all()


def spec(
    behave: str = "well", workload: str = "source", system: str = "linux", **params: Any
) -> WorkloadSpec:
    return WorkloadSpec(workload=workload, system=system, params={"behave": behave, **params})


async def test_a_workload_runs_counts_obeys_and_gives_its_result(workloads: Workloads) -> None:
    one = await workloads.start(spec(counters={"datagrams_in": 5}))
    state = one.describe()
    assert (state["state"], state["counters"], state["result"]) == ("running", {"datagrams_in": 5}, None)
    one.tell({"command": "expect", "count": 3})
    state = (await workloads.stop(one.id)).describe()
    assert state["state"] == "done"
    assert state["result"]["told"] == [{"command": "expect", "count": 3}]
    assert state["counters"] == {"datagrams_in": 5}
    assert (await workloads.stop(one.id)).describe() == state


async def test_counters_are_sampled_at_moments_that_all_hosts_share(workloads: Workloads) -> None:
    def sampled(behave: str, value: int) -> WorkloadSpec:
        return WorkloadSpec(
            workload="source", params={"behave": behave, "counters": {"datagrams_out": value}}, sample_s=0.05
        )

    ones = [await workloads.start(sampled("well", value)) for value in (5, 7)]
    await eventually(lambda: all(len(one.samples["t_ns"]) >= 4 for one in ones), "samples")  # type: ignore
    assert ones[0].describe()["series"] is None  # it is told at the end
    series = [(await workloads.stop(one.id)).describe()["series"] for one in ones]
    ticks = [{round(moment / 50_000_000) for moment in one["t_ns"]} for one in series]
    assert len(ticks[0] & ticks[1]) >= 3
    for one, value in zip(series, (5, 7), strict=True):
        assert one["interval_s"] == 0.05
        assert one["counters"] == {"datagrams_out": [value] * len(one["t_ns"])}
    assert (await workloads.start(spec())).describe()["series"] is None


async def test_the_end_of_the_work_is_waited_for_without_polling(workloads: Workloads) -> None:
    one = await workloads.start(spec())
    waiting = asyncio.create_task(one.finished(PATIENCE_S))
    one.tell({"command": "finish"})
    assert await waiting
    assert one.state == "done"


async def test_a_workload_is_placed_before_it_has_its_specification(setup: HostSetup) -> None:
    placed: list[tuple[int, bool]] = []
    output = setup.run_dir / "read"
    script = f"import sys; line = sys.stdin.readline(); open({str(output)!r}, 'w').write(line)"
    setup.workload_command = [sys.executable, "-c", script]
    registry = Workloads(
        setup, place=lambda pid: placed.append((pid, output.exists())), release=lambda pid: None
    )
    with pytest.raises(Problem, match="ended with exit status 0"):
        await registry.start(spec())
    assert [had_it for _, had_it in placed] == [False]
    assert '"behave": "well"' in output.read_text()


async def test_a_workload_is_released_to_end(setup: HostSetup) -> None:
    released: list[tuple[int, str]] = []
    registry = Workloads(setup, place=lambda pid: None, release=lambda pid: released.append((pid, one.state)))
    one = await registry.start(spec())
    for _ in range(2):
        await registry.stop(one.id)
    assert released == [(one.pid, "running")]


@pytest.mark.parametrize(
    ("behave", "status", "message"),
    [
        ("refuse", 422, "the address 10.9.9.9 is not one of this host's"),
        ("crash", 502, "ended with exit status 3: a reason on stderr"),
        ("garbage", 502, "printed something that is not an event: b'Warning: hello'"),
        ("megabytes", 502, "printed something that is not an event: b'xxx"),
        ("binary", 502, "printed something that is not an event"),
        ("shrink counters", 422, "shrinking is refused"),
    ],
)
async def test_a_workload_that_does_not_become_ready_is_gone_and_says_why(
    workloads: Workloads, behave: str, status: int, message: str
) -> None:
    with pytest.raises(Problem) as caught:
        await workloads.start(spec(behave))
    assert caught.value.status == status
    assert message in caught.value.detail
    assert workloads.describe() == []


async def test_a_killed_workload_has_failed_and_the_others_go_on(workloads: Workloads) -> None:
    one, other = await workloads.start(spec()), await workloads.start(spec())
    os.kill(one.pid, signal.SIGKILL)
    assert await one.finished(PATIENCE_S)
    assert (one.state, one.message) == ("failed", "killed by signal 9 (SIGKILL)")
    assert other.state == "running"
    with pytest.raises(Problem, match="takes no command"):
        one.tell({"command": "finish"})


async def test_a_result_stands_when_the_process_lingers_and_is_killed(
    workloads: Workloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.host_workloads.STOP_S", 0.05)
    one = await workloads.start(spec("linger"))
    assert await one.finished(PATIENCE_S)
    await eventually(lambda: one.ended, "the process to be killed")
    assert (one.state, one.result) == ("done", {"sent": 7})


async def test_a_workload_that_ignores_stop_is_killed_and_has_failed(
    workloads: Workloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.host_workloads.STOP_S", 0.05)
    one = await workloads.start(spec("ignore stop"))
    state = (await workloads.stop(one.id)).describe()
    assert (state["state"], state["message"]) == ("failed", "did not stop within 0.05 s and was killed")


async def test_the_manager_comes_with_the_first_that_needs_it_and_goes_with_the_last(
    workloads: Workloads, setup: HostSetup
) -> None:
    one = await workloads.start(spec(workload="forwarder", system="shipping", queue_datagrams=64))
    other = await workloads.start(spec(workload="sink", system="copy", queue_datagrams=64))
    manager = one.manager
    assert manager is not None and manager is other.manager and manager.state == "running"
    await workloads.stop(one.id)
    assert manager.state == "running"
    state = (await workloads.stop(other.id)).describe()
    assert state["result"]["params"]["manager_socket"] == str(setup.run_dir / "middle.manager.sock")
    assert state["manager"]["state"] == "done"
    assert state["manager"]["result"]["params"] == {
        "interfaces": [{"name": "eth0"}],
        "socket": str(setup.run_dir / "middle.manager.sock"),
        "backend": "auto",
        "segmentation": True,
        "page_bytes": 4096,
        "protection": "cooperative",
        "recycling": True,
        "queue_datagrams": 64,
    }
    third = await workloads.start(spec(workload="sink", system="copy"))
    assert third.manager is not manager


async def test_the_manager_goes_when_its_last_user_ends_by_itself(workloads: Workloads) -> None:
    one = await workloads.start(spec("finish", workload="source", system="shipping"))
    manager = one.manager
    assert manager is not None
    await eventually(lambda: manager.ended, "the manager to be gone")
    assert manager.state == "done"


async def test_a_dead_manager_takes_its_users_with_it(workloads: Workloads) -> None:
    one = await workloads.start(spec(workload="forwarder", system="shipping"))
    bystander = await workloads.start(spec())
    assert one.manager is not None
    os.kill(one.manager.pid, signal.SIGKILL)
    assert await one.finished(PATIENCE_S)
    assert one.state == "failed"
    assert f"its manager (pid {one.manager.pid}) failed: killed by signal 9" in one.describe()["message"]
    assert bystander.state == "running"


async def test_a_manager_cannot_be_had_in_two_ways_at_once(workloads: Workloads) -> None:
    await workloads.start(spec(workload="forwarder", system="shipping", backend="packet"))
    with pytest.raises(Problem, match="runs with backend 'packet'") as caught:
        await workloads.start(spec(workload="sink", system="shipping", backend="xdp"))
    assert caught.value.status == 409


async def test_totals_never_fall_when_workloads_end(workloads: Workloads) -> None:
    counters = {"datagrams_in": 5, "drop_queue": 1, "containers_free": 9, "ring_in_backlog": 2}
    one = await workloads.start(spec(counters=counters))
    other = await workloads.start(spec(counters=counters))
    before = workloads.look()
    assert before["totals"] == [
        {"workload": "source", "system": "linux", "counters": {"datagrams_in": 10, "drop_queue": 2}}
    ]
    assert before["gauges"] == {"containers_free": 18, "ring_in_backlog": 4}
    lasting = {"datagrams_in": 5, "drop_queue": 1}
    about = {"id": one.id, "workload": "source", "system": "linux", "state": "running", "counters": lasting}
    assert before["running"][0] == about
    await workloads.stop(one.id)
    after = workloads.look()
    assert after["totals"] == before["totals"]
    assert after["gauges"] == {"containers_free": 9, "ring_in_backlog": 2}
    assert {(s["state"], s["count"]) for s in after["states"]} == {("running", 1), ("done", 1)}
    assert [running["id"] for running in after["running"]] == [other.id]


async def test_a_hundred_starts_leave_no_descriptor_and_no_zombie(workloads: Workloads) -> None:
    await workloads.stop((await workloads.start(spec())).id)
    before = len(os.listdir("/proc/self/fd"))
    pids = []
    for _ in range(20):
        batch = await asyncio.gather(*(workloads.start(spec("finish")) for _ in range(5)))
        await asyncio.gather(*(workloads.stop(one.id) for one in batch))
        pids += [one.pid for one in batch]
    assert len(os.listdir("/proc/self/fd")) == before
    assert not set(pids) & set(children(os.getpid()))
    assert len(workloads.describe()) <= ENDED_KEPT


async def test_an_unknown_workload_is_named(workloads: Workloads) -> None:
    with pytest.raises(Problem, match="there is no workload 'x-1' in host 'middle' of lab 'lab'"):
        workloads.get("x-1")


async def test_a_source_is_changed_and_nothing_else(workloads: Workloads) -> None:
    one = await workloads.start(spec(rate_mbps=5.0, size=100))
    one.change(Change(rate_mbps=7.0))
    one.change(Change(size=200))
    assert one.describe()["params"] == {"behave": "well", "rate_mbps": 7.0, "size": 200}
    result = (await workloads.stop(one.id)).describe()["result"]
    assert result["told"] == [
        {"command": "pace", "rate_mbps": 7.0, "size": 100},
        {"command": "pace", "rate_mbps": 7.0, "size": 200},
    ]
    sink = await workloads.start(spec(workload="sink"))
    with pytest.raises(Problem, match=r"only sources change .* a sink") as caught:
        sink.change(Change(size=200))
    assert caught.value.status == 409


async def test_rates_are_of_what_only_grows(workloads: Workloads) -> None:
    one = await workloads.start(spec(counters={"datagrams_in": 5, "containers_free": 9}))
    other = await workloads.start(spec(counters={"datagrams_in": 5}))
    before = {one.id: (-1e9, {"datagrams_in": 3}), other.id: workloads.read()[other.id]}
    first, second = workloads.describe(before)
    assert 0 < first["per_second"]["datagrams_in"] < 1e-8 and "containers_free" not in first["per_second"]
    assert second["per_second"] == {"datagrams_in": 0.0}
    assert [state["per_second"] for state in workloads.describe()] == [{}, {}]
