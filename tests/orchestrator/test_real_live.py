"""The live feed of a real lab: numbers move with the traffic, a cut is seen, and so is an agent that hangs or
dies."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing

import pytest

from orchestrator.api.live_models import LiveSample
from orchestrator.api.workload_models import WorkloadView
from orchestrator.client import AsyncClient
from tests.orchestrator.test_real_exploring import LAB, lab
from tests.orchestrator.test_real_labs import Orchestrator
from tests.support import PATIENCE_S, children, stop

pytestmark = pytest.mark.root
__all__ = ["lab"]


@pytest.fixture
async def client(lab: Orchestrator) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(lab.address) as client:
        yield client


async def until(client: AsyncClient, good: Callable[[LiveSample], object]) -> LiveSample:
    """The first sample that is good."""
    async with asyncio.timeout(PATIENCE_S), aclosing(client.live(LAB, every_s=0.2)) as samples:
        async for sample in samples:
            if good(sample):
                return sample
    raise AssertionError("the feed ended")


async def sending(client: AsyncClient) -> tuple[WorkloadView, WorkloadView]:
    """A source on its way to the middle host's sink."""
    sink = await client.start_workload(LAB, "middle", "sink", "linux-batch", network="ring-a")
    source = await client.start_workload(LAB, "source", "source", to="middle", rate_mbps=20.0, size=4000)
    return sink, source


def agent_of(lab: Orchestrator, workload: WorkloadView) -> int:
    """The process of the host agent that has started this workload."""
    return next(pid for pid in children(lab.machine_pid()) if workload.pid in children(pid))


async def test_numbers_move_and_a_cut_network_says_so(client: AsyncClient) -> None:
    sink, source = await sending(client)
    seen = await until(client, lambda sample: (sample.networks["ring-a"].mbps or 0) > 10)
    assert {name: host.state for name, host in seen.hosts.items()} == {
        **{"source": "running", "middle": "running", "sink": "idle"}
    }
    ring, into = seen.networks["ring-a"], seen.hosts["middle"].workloads
    assert into is not None and [one.id for one in into] == [sink.id]
    assert into[0].mbps_in and into[0].datagrams_in_per_s and into[0].mbps_out == 0
    assert (ring.state, ring.medium, ring.rate_mbps, ring.drops_per_s) == ("running", "shared", 100.0, {})
    link = ring.links["middle"]
    assert link.mbps_to and link.mbps_from is not None and link.mbps_to > 10 > link.mbps_from
    out = seen.hosts["source"].workloads
    assert out is not None and out[0].mbps_out and out[0].loss is None
    assert seen.hosts["source"].cpu.io
    await client.cut_network(LAB, "ring-a")
    cut = await until(client, lambda sample: (sample.networks["ring-a"].drops_per_s or {}).get("cut"))
    assert cut.networks["ring-a"].state == "cut"
    assert (await until(client, lambda sample: sample.networks["ring-a"].mbps == 0)).lab == LAB
    await client.heal_network(LAB, "ring-a")
    await until(client, lambda sample: any(one.lost for one in sample.hosts["middle"].workloads or []))
    await client.set_network(LAB, "ring-a", 100, loss=0.5)

    def losing(sample: LiveSample) -> bool:
        workloads = sample.hosts["middle"].workloads or []
        return sample.networks["ring-a"].loss == 0.5 and any((one.loss or 0) > 0.2 for one in workloads)

    lossy = await until(client, losing)
    assert lossy.networks["ring-a"].state == "running"
    await client.set_network(LAB, "ring-a", 100)
    await client.stop_workload(LAB, "source", source.id)
    await client.stop_workload(LAB, "middle", sink.id)


async def test_an_agent_that_hangs_or_dies_holds_nobody_up(lab: Orchestrator, client: AsyncClient) -> None:
    sink, _ = await sending(client)
    agent = agent_of(lab, sink)
    stop(agent)
    try:
        silent = await until(client, lambda sample: sample.hosts["middle"].workloads is None)
        assert silent.hosts["middle"].hogs is None and silent.hosts["source"].workloads
        assert silent.hosts["middle"].cpu.io is not None or silent.over_s is None
    finally:
        os.kill(agent, signal.SIGCONT)
    await until(client, lambda sample: sample.hosts["middle"].workloads)
    os.kill(agent, signal.SIGKILL)
    dead = await until(client, lambda sample: sample.hosts["middle"].state == "failed")
    assert dead.hosts["middle"].containers is None and dead.hosts["source"].state == "running"


@pytest.fixture(autouse=True)
def as_it_was(lab: Orchestrator) -> Iterator[None]:
    """What a test has left on the hosts is ended."""
    yield
    for host in ("source", "middle"):
        lab.send("POST", f"/api/v1/labs/{LAB}/hosts/{host}/stop")
        lab.send("POST", f"/api/v1/labs/{LAB}/hosts/{host}/start")
