"""Processes of one host that hand operations to each other, over every combination of I/O systems."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agents.workload_params import local_systems
from tests.agents.shipping.api_host import Host
from tests.agents.shipping.test_systems import Workload
from tests.agents.shipping.test_workload_process import answer, spec
from tests.support import stop, wait_until

pytestmark = pytest.mark.root

KIB = 1 << 10
PAIRS = [
    ("linux", "linux"),
    ("shipping", "shipping"),
    ("copy", "shipping"),
    ("shipping", "copy"),
    ("copy", "copy"),
]
names = (f"channel-{n}" for n in itertools.count())
Start = Callable[..., Workload]


@pytest.fixture
def start(served: Host) -> Iterator[Start]:
    """Starts workloads on the host; at the end they are gone and the pool has all it had."""
    path, manager = served
    before = manager.counters()
    with contextlib.ExitStack() as stack:

        def one(workload: str, system: str, **params: Any) -> Workload:
            return stack.enter_context(Workload(workload, system, {"manager_socket": str(path), **params}))

        yield one
    wait_until(lambda: manager.counters()["containers_owned"] == 0, "the manager to have all back")
    after = manager.counters()
    states = ["containers_free", "containers_receiving", "containers_sending", "pages_following"]
    assert {name: after[name] for name in states} == {name: before[name] for name in states}
    assert after["drop_bad_descriptor"] == before["drop_bad_descriptor"]


def result(workload: Workload) -> dict[str, Any]:
    """What it says when its work is over."""
    event = workload.hear()
    assert event["event"] == "done", event
    told: dict[str, Any] = event["result"]
    return told


def failure(workload: Workload) -> str:
    event = workload.hear()
    assert event["event"] == "error", event
    return str(event["message"])


def test_every_local_system_is_tested_here() -> None:
    assert {system for pair in PAIRS for system in pair} == set(local_systems())


@pytest.mark.parametrize("map_", ["full", "half", "none"])
@pytest.mark.parametrize("reader_first", [True, False])
@pytest.mark.parametrize(("writer", "reader"), PAIRS)
def test_operations_arrive_as_they_were_written(
    start: Start, writer: str, reader: str, reader_first: bool, map_: str
) -> None:
    common = {"channel": next(names), "map": map_, "verify": True, "queue_operations": 8}
    common |= {"total_bytes": 200 * 128 * KIB, "warmup_bytes": 20 * 128 * KIB}
    ends = [("producer", writer), ("consumer", reader)]
    started = {
        workload: start(workload, system, **common) for workload, system in ends[:: 1 - 2 * reader_first]
    }
    written, read = result(started["producer"]), result(started["consumer"])
    assert written["operations"] == read["operations"] == 220
    assert written["bytes"] == read["bytes"] == 220 * 128 * KIB
    assert (written["operations_measured"], read["operations_measured"]) == (200, 199)
    assert read["bytes_measured"] == 199 * 128 * KIB
    assert written["t0_ns"] < written["t1_ns"]
    assert read["t0_ns"] < read["t1_ns"]
    assert read["mbytes_per_s"] == pytest.approx(
        read["bytes_measured"] * 1e3 / (read["t1_ns"] - read["t0_ns"])
    )
    assert read["mismatches"] == 0
    assert read["ended"]
    for workload, direction in (("producer", "out"), ("consumer", "in")):
        counted = started[workload].counters()
        assert counted[f"operations_{direction}"] == 220
        assert counted[f"bytes_{direction}"] == 220 * 128 * KIB


@pytest.mark.parametrize(("writer", "reader"), PAIRS)
def test_what_was_not_written_is_seen(start: Start, writer: str, reader: str) -> None:
    common = {"channel": next(names), "verify": True, "total_bytes": 10 * 128 * KIB}
    consumer = start("consumer", reader, **common)
    result(start("producer", writer, **common, map="half"))
    assert result(consumer)["mismatches"] > 10 * 60 * KIB  # some bytes are right by chance


@pytest.mark.parametrize("size", [64, 4096, 4160, 64 * KIB, 2048 * KIB])
@pytest.mark.parametrize(("writer", "reader"), PAIRS)
def test_operations_of_any_size(start: Start, writer: str, reader: str, size: int) -> None:
    common = {"channel": next(names), "verify": True, "operation_bytes": size, "total_bytes": 50 * size}
    consumer = start("consumer", reader, **common, queue_operations=2)
    result(start("producer", writer, **common, queue_operations=2))
    read = result(consumer)
    assert (read["operations"], read["mismatches"]) == (50, 0)


@pytest.mark.parametrize(("writer", "reader"), PAIRS)
def test_an_interval_of_time(start: Start, writer: str, reader: str) -> None:
    for duration_s in (0.1, 1, 10):  # a longer one if the machine had no time for them in the shorter
        common = {"channel": next(names), "warmup_s": duration_s / 2, "duration_s": duration_s}
        consumer = start("consumer", reader, **common)
        written, read = result(start("producer", writer, **common)), result(consumer)
        if read["operations_measured"]:
            break
    assert written["operations"] == read["operations"]
    assert 0 < written["operations_measured"] < written["operations"]
    assert 0 < read["operations_measured"] < read["operations"]
    assert 0 < read["t1_ns"] - read["t0_ns"] <= duration_s * 1e9 <= written["t1_ns"] - written["t0_ns"]
    assert read["busy_ns"] > 0 < written["busy_ns"]


@pytest.mark.parametrize("relays", [1, 3])
@pytest.mark.parametrize("system", ["linux", "shipping", "copy"])
def test_relays_pass_on_what_comes(start: Start, system: str, relays: int) -> None:
    hops = [next(names) for _ in range(relays + 1)]
    common = {"verify": True, "total_bytes": 100 * 128 * KIB}
    consumer = start("consumer", system, channel=hops[-1], **common)
    chain = [
        start("relay", system, channel=channel, out_channel=out)
        for channel, out in reversed(list(itertools.pairwise(hops)))
    ]
    result(start("producer", system, channel=hops[0], **common))
    read = result(consumer)
    assert (read["operations"], read["mismatches"], read["ended"]) == (100, 0, True)
    for relay in chain:
        passed = result(relay)
        assert passed["bytes"] == 100 * 128 * KIB
        assert (passed["received"] - passed["sent"], passed["dropped"]) == (0, 0)


def test_copying_relays_go_on_when_what_waits_for_them_is_all_that_may_be_had(
    start: Start, served: Host
) -> None:
    free = served[1].counters()["containers_free"]
    hops = [next(names) for _ in range(4)]
    common = {"verify": True, "total_bytes": 400 * 128 * KIB}
    consumer = start("consumer", "copy", channel=hops[-1], **common)
    last, *_ = [
        start("relay", "copy", channel=channel, out_channel=out)
        for channel, out in reversed(list(itertools.pairwise(hops)))
    ]
    stop(last.process.pid)
    producer = start("producer", "copy", channel=hops[0], **common)
    wait_until(
        lambda: served[1].counters()["containers_free"] < free / 8, "nothing to be left that may be allocated"
    )
    os.kill(last.process.pid, signal.SIGCONT)
    assert result(producer)["operations"] == 400
    assert (result(consumer)["operations"], result(last)["dropped"]) == (400, 0)


@pytest.mark.parametrize(("writer", "reader"), PAIRS)
def test_a_writer_that_is_killed_is_the_end_for_its_reader(start: Start, writer: str, reader: str) -> None:
    common = {"channel": next(names), "duration_s": 60}
    consumer, producer = start("consumer", reader, **common), start("producer", writer, **common)
    wait_until(lambda: consumer.counters().get("operations_in", 0) > 0, "something to arrive")
    producer.process.kill()
    read = result(consumer)
    assert read["ended"]
    assert read["operations"] > 0


@pytest.mark.parametrize("with_unread", [False, True])
@pytest.mark.parametrize(("writer", "reader"), PAIRS)
def test_a_reader_that_is_killed_is_told_to_its_writer(
    start: Start, writer: str, reader: str, with_unread: bool
) -> None:
    common = {"channel": next(names), "duration_s": 60}
    consumer, producer = start("consumer", reader, **common), start("producer", writer, **common)
    wait_until(lambda: consumer.counters().get("operations_in", 0) > 0, "something to arrive")
    if with_unread:
        stop(consumer.process.pid)
        read = consumer.counters()["operations_in"]
        wait_until(lambda: producer.counters()["operations_out"] > read + 1, "something to be left unread")
    consumer.process.kill()
    assert failure(producer) == f"producer over {writer}: Broken pipe"


@pytest.mark.parametrize("system", ["linux", "shipping", "copy"])
def test_what_is_told_to_stop_gives_its_result(start: Start, system: str) -> None:
    common = {"channel": next(names), "duration_s": 60}
    alone = start("consumer", system, **common | {"channel": next(names)})
    idle = alone.stop()
    assert (idle["operations"], idle["ended"], idle["mbytes_per_s"]) == (0, False, 0)
    producer = start("producer", system, **common, queue_operations=2)
    assert producer.stop()["operations"] < 100  # what found room
    relay = start("relay", system, channel=next(names), out_channel=next(names))
    assert relay.stop()["bytes"] == 0


def test_a_channel_has_two_ends(served: Host, start: Start) -> None:
    common = {"channel": next(names), "duration_s": 60}
    ends = [start("consumer", "shipping", **common), start("producer", "copy", **common)]
    third = {**common, "manager_socket": str(served[0])}
    code, (event,) = answer(spec("consumer", third, "shipping"))
    assert (code, event["message"]) == (1, "consumer over shipping: Address already in use")
    ends[1].stop()
    assert result(ends[0])["ended"]


def test_operations_of_another_size_are_refused(start: Start) -> None:
    name = next(names)
    consumer = start("consumer", "shipping", channel=name, operation_bytes=4096, duration_s=60)
    producer = start("producer", "shipping", channel=name, operation_bytes=64, duration_s=60)
    assert failure(consumer) == "consumer over shipping: Message too long"
    assert failure(producer) == "producer over shipping: Broken pipe"
