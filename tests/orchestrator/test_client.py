"""The Python client against a real server over a fake machine, both ways alike."""

from __future__ import annotations

import inspect
import signal
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from orchestrator.api.table import BASE, ROUTES
from orchestrator.client import AsyncClient, BadAddress, Client, ClientError, Refused, RunFailed, Unreachable
from orchestrator.client import calls as calls_module
from orchestrator.client.calls import Call
from tests.orchestrator.fake_engine import result_of
from tests.orchestrator.fakes import PNG
from tests.orchestrator.processes import FAKE_SERVER, address_of, started, until_ended

CALLS = {
    name: call
    for name, call in vars(calls_module).items()
    if inspect.isfunction(call) and call.__module__ == calls_module.__name__ and not name.startswith("_")
}
NOT_CALLS = {"follow_events", "follow_lab", "prometheus_targets", "open_console"}
"""Operations that are no request with an answer, or not for clients."""


@pytest.fixture(params=["http", "unix"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A running orchestrator."""
    where = ["--listen", "127.0.0.1:0"] if request.param == "http" else ["--unix", str(tmp_path / "s")]
    with started(*FAKE_SERVER, *where, "--state", str(tmp_path / "state")) as process:
        yield address_of(process)
        process.send_signal(signal.SIGTERM)
        assert until_ended(process) == 0


def test_a_script_deploys_changes_measures_and_reads(address: str) -> None:
    client = Client(address)
    assert client.health().status == "ok"
    assert client.deploy("one", "two-fddi").hosts == ["source", "middle", "sink"]
    assert [lab.name for lab in client.labs()] == ["one"]
    assert client.set_network("one", "ring-a", 50, loss=0.01).rate_mbps == 50
    assert client.network("one", "ring-a").rate_mbps == 50
    assert client.host("one", "middle").lab == "one"
    assert client.cut_network("one", "ring-b").cut and not client.heal_network("one", "ring-b").cut
    sink = client.start_workload("one", "sink", "sink", port=9000)
    assert [one.id for one in client.workloads("one", "sink", over_s=0)] == [sink.id]
    assert client.workload("one", "sink", sink.id, over_s=0).workload == "sink"
    client.stop_workload("one", "sink", sink.id)
    assert client.set_hogs("one", "middle", 2).count == 2
    first, second = islice(client.live("one", every_s=0.1), 2)
    assert (first.over_s, first.networks["ring-a"].mbps, second.networks["ring-a"].mbps) == (None, None, 50.0)
    assert first.hosts["middle"].hogs == 2
    assert client.set_hogs("one", "middle", 0).running == 0
    assert client.changes("one", "two-fddi").changes == []
    assert client.apply("one", "two-fddi").name == "one"
    assert client.estimate("fddi", quick=True).trials == 2
    assert client.counters("one", "middle") == {"udp.InDatagrams": 7}
    assert client.metrics("one", "middle").startswith("transship_workloads")
    assert client.execute("one", "middle", ["echo", "x"]).stdout == "echo x"
    run, result = client.measure("fddi", lab="one", quick=True)
    assert (run.state, run.lab, result.model_dump()) == ("done", "one", result_of("fddi", "reproduced"))
    assert client.trials(run.id) == [{"trial": 1}, {"trial": 2}]
    assert client.series(run.id) == []
    assert client.table(run.id, form="csv").startswith(b"attempt,")
    assert client.figure(run.id) == PNG
    assert [one.id for one in client.runs(limit=5)] == [run.id]
    with pytest.raises(Refused, match="there is a run") as refused:
        client.import_run(client.export_run(run.id))
    assert refused.value.status == 409
    lab = client.destroy_lab("one")
    assert lab is not None and lab.state == "destroying"
    assert client.destroy_lab("two") is None


async def test_a_coroutine_does_the_same(address: str) -> None:
    async with AsyncClient(address) as client:
        assert (await client.health()).status == "ok"
        assert (await client.deploy("one", "two-fddi")).state == "ready"
        run, result = await client.measure("fddi", lab="one", quick=True)
        assert (run.state, result.verdict) == ("done", "reproduced")
        assert await client.figure(run.id) == PNG
        begun = await client.create_run("endless")
        async for event in client.events(begun.id):
            if event.kind == "progress" and event.data["phase"] == "trials":
                await client.cancel_run(begun.id)
                break
        assert (await client.wait(begun.id)).state == "cancelled"
        watched = []
        async for sample in client.live("one", every_s=0.1):
            watched.append(sample.networks["ring-b"].state)
            if len(watched) == 1:
                await client.cut_network("one", "ring-b")
            elif watched[-1] == "cut":
                await client.destroy_lab("one")
        assert {"running", "cut"} == set(watched)
        with pytest.raises(Refused, match="there is no lab 'one'"):
            await anext(client.live("one"))
        with pytest.raises(Refused) as refused:
            await client.create_run("none")
        assert (refused.value.status, refused.value.field) == (422, "experiment")


def test_what_goes_wrong_is_told(address: str) -> None:
    client = Client(address)
    with pytest.raises(RunFailed, match="nothing was sent") as failed:
        client.measure("broken")
    assert failed.value.run.state == "failed"
    with pytest.raises(Refused, match="there is no lab 'x'") as refused:
        client.lab("x")
    assert (refused.value.status, refused.value.field) == (404, "lab")


async def test_nobody_there_is_told() -> None:
    with pytest.raises(Unreachable, match=r"no answer from the orchestrator at http://127\.0\.0\.1:1"):
        Client("http://127.0.0.1:1").health()
    async with AsyncClient("http://127.0.0.1:1") as client:
        with pytest.raises(Unreachable, match=r"no answer from the orchestrator at http://127\.0\.0\.1:1"):
            await client.health()
    with pytest.raises(ClientError, match="use it as a context"):
        await AsyncClient().health()
    for make in (Client, AsyncClient):
        with pytest.raises(BadAddress, match="give http://"):
            make("ftp://x")


def test_every_operation_has_a_call_and_both_clients_have_every_call() -> None:
    named: dict[str, Any] = {
        "name": "n", "host": "h", "lab": "l", "network": "n", "run_id": "r", "a": "r", "b": "o",
        "topology": "t", "argv": ["x"], "rate_mbps": 1.0, "experiment": "e", "content": b"",
        "workload": "sink", "workload_id": "w", "interface": "eth0", "limit": 1, "count": 1,
    }  # fmt: skip
    made = set()
    for name, make in CALLS.items():
        needed = [
            one.name for one in inspect.signature(make).parameters.values() if one.default is inspect._empty
        ]
        call = make(**{one: named[one] for one in needed if one != "more"})
        assert isinstance(call, Call)
        made.add((call.method, call.path.split("?")[0].count("/"), call.path.split("?")[0].split("/")[-1]))
        assert name in vars(Client) and name in vars(AsyncClient)
    for route in ROUTES:
        if route.name in NOT_CALLS or not route.path.startswith(BASE):
            continue
        last = route.path.split("/")[-1]
        candidates = [one for one in made if one[:2] == (route.method, route.path.count("/"))]
        assert any(last.startswith("{") or one[2] == last for one in candidates), route.path
