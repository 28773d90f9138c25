"""A workload that cannot be done says so in one line that names the field; it never ends without a word."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from agents.shipping.counters import SEGMENT_BYTES
from agents.workload_params import systems

SOURCE = {
    "local": "127.0.0.1",
    "remote": "127.0.0.1:9",
    "size": 100,
    "rate_mbps": 1,
    "duration_s": 0.1,
    "flow": 1,
}
SINK = {"local": "127.0.0.1:0", "flow": 1}
COPIER = {"source": __file__, "target": "/tmp/transship-no-such/target"}
INTERFACE = {"name": "no-such", "mac": "02:00:00:00:00:01", "address": "10.1.0.1", "prefix": 24, "mtu": 1500}
LOCAL = {"channel": "no-such", "duration_s": 0.1}
RELAY = {"channel": "no-such", "out_channel": "no-such-either"}
MANAGER = {"interfaces": [INTERFACE], "socket": "/tmp/transship-no-such/manager"}


def answer(first_line: str) -> tuple[int, list[dict[str, Any]]]:
    """The exit code and the events of a workload process that is told this; its stdin then ends."""
    fd = os.memfd_create("counters")
    os.ftruncate(fd, SEGMENT_BYTES)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "agents.workload", "--counters-fd", str(fd)],
            input=first_line + "\n",
            pass_fds=[fd],
            capture_output=True,
            text=True,
            timeout=60,
        )
    finally:
        os.close(fd)
    assert done.stderr == ""
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def spec(workload: str, params: Any, system: Any = "linux") -> str:
    return json.dumps({"workload": workload, "system": system, "params": params})


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", ""),
        ("not json", ""),
        ("[]", ""),
        ("7", ""),
        ('{"workload": "sink"}', "system"),
        (spec("teleporter", {}), "one of source, forwarder, sink, manager, hog, copier, producer"),
        (spec("sink", SINK, "carrier-pigeon"), "one of linux, linux-batch, copy, shipping expected"),
        (spec("sink", SINK, 7), ""),
        (spec("sink", {"flow": 1}), "params.local: None given"),
        (spec("sink", {"local": "127.0.0.1:9"}), "params.flow: None given"),
        (spec("sink", SINK, "shipping"), "params.manager_socket: None given"),
        (spec("sink", SINK | {"manager_socket": "/tmp/transship-no-such"}, "copy"), "No such file"),
        (spec("sink", SINK | {"local": "somewhere:9000"}), "params.local: 'somewhere:9000' given"),
        (spec("sink", SINK | {"local": "10.1.0.1:65536"}), "params.local"),
        (spec("sink", SINK | {"local": "10.1.0.1:-1"}), "params.local"),
        (spec("sink", SINK | {"local": "$(touch x)"}), "params.local"),
        (spec("sink", SINK | {"flow": -1}), ""),
        (spec("sink", SINK | {"size": 0}), "params.size"),
        (spec("sink", SINK | {"size": "big"}), "params.size"),
        (spec("sink", SINK | {"queue_datagrams": -1}), "params.queue_datagrams"),
        (spec("sink", None), ""),
        (spec("source", SOURCE | {"size": 0}), "params.size"),
        (spec("source", SOURCE | {"size": 70000}), "params.size"),
        (spec("source", SOURCE | {"rate_mbps": 0}), "params.rate_mbps"),
        (spec("source", SOURCE | {"rate_mbps": -5}), "params.rate_mbps"),
        (spec("source", SOURCE | {"rate_mbps": float("nan")}), "params.rate_mbps"),
        (spec("source", SOURCE | {"rate_mbps": "fast"}), "params.rate_mbps"),
        (spec("source", SOURCE | {"duration_s": float("inf")}), ""),
        (spec("source", SOURCE | {"duration_s": None}), "params.duration_s"),
        (spec("forwarder", {"local": "127.0.0.1:0", "out_local": "127.0.0.1"}), "params.remote: None given"),
        (spec("producer", LOCAL, "linux-batch"), "one of linux, copy, shipping expected"),
        (spec("consumer", {"duration_s": 1}), "params.channel: None given, a name of 1 to 63 bytes expected"),
        (spec("consumer", LOCAL | {"channel": ""}), "params.channel: '' given"),
        (spec("consumer", LOCAL | {"channel": "x" * 64}), "params.channel"),
        (spec("consumer", LOCAL | {"channel": "a\0b"}), "params.channel"),
        (spec("consumer", LOCAL | {"operation_bytes": 100}), "a multiple of 64 from 64 to 33554432 expected"),
        (spec("consumer", LOCAL | {"operation_bytes": 0}), "params.operation_bytes: 0 given"),
        (spec("consumer", LOCAL | {"queue_operations": 0}), "params.queue_operations: 0 given"),
        (spec("consumer", LOCAL | {"map": "some"}), 'one of "none", "half", "full" expected'),
        (spec("consumer", LOCAL | {"verify": 1}), "params.verify: 1 given"),
        (spec("consumer", LOCAL | {"total_bytes": 1 << 20}), "at most one of them expected"),
        (spec("consumer", {"channel": "no-such", "total_bytes": 100}), "a multiple of 131072"),
        (
            spec("consumer", LOCAL | {"duration_s": 0}),
            "params.duration_s: 0 given, a number of seconds",
        ),
        (spec("consumer", LOCAL | {"duration_s": float("nan")}), "params.duration_s"),
        (spec("consumer", LOCAL | {"warmup_s": -1}), "params.warmup_s: -1 given"),
        (
            spec("server", LOCAL | {"picture": "loud"}),
            'params.picture: \'loud\' given, one of "still", "moving"',
        ),
        (spec("consumer", LOCAL | {"cpu": 4000}), "params.cpu: 4000 given, one of 0"),
        (spec("consumer", LOCAL | {"cpu": "first"}), "params.cpu: 'first' given"),
        (spec("producer", LOCAL, "shipping"), "params.manager_socket: None given"),
        (spec("producer", LOCAL | {"manager_socket": "/tmp/transship-no-such"}, "copy"), "No such file"),
        (
            spec("manager", MANAGER | {"protection": "total"}),
            'one of "cooperative", "write-revoked", "strict"',
        ),
        (spec("manager", MANAGER | {"protection": "strict", "zeroing": "none"}), 'one of "edges", "all" exp'),
        (spec("manager", MANAGER | {"zeroing": "some"}), 'one of "none", "edges", "all" expected'),
        (
            spec("manager", MANAGER | {"page_bytes": 8192}),
            "params.page_bytes: 8192 given, one of 4096, 2097152",
        ),
        (spec("manager", MANAGER | {"page_bytes": 2 << 20}), "2097152 given, 4096 expected on a host with"),
        (
            spec("manager", MANAGER | {"interfaces": [], "page_bytes": 2 << 20, "pages": 4096}),
            "params.pages: 4096 given, a whole number from 16 to 2048",
        ),
        (spec("manager", MANAGER | {"recycling": 1}), "params.recycling: 1 given"),
        (spec("relay", {"channel": "no-such"}), "params.out_channel: None given"),
        (spec("relay", RELAY, "linux-batch"), "one of linux, copy, shipping expected"),
        (spec("server", LOCAL | {"width": 0}), "params.width: 0 given"),
        (spec("server", LOCAL | {"bits": 16}), "params.bits: 16 given, one of 8, 24, 32 expected"),
        (spec("server", LOCAL | {"width": 7, "height": 7}), "frames of 7 x 7 x 8 are 49 bytes"),
        (spec("server", LOCAL | {"width": 16384, "height": 16384}), "a multiple of 64 up to 33554432"),
        (spec("server", LOCAL | {"fps": 0}), "params.fps: 0.0 given, a number of frames per second above"),
        (spec("display", LOCAL | {"bus_mbytes_per_s": -1}), "params.bus_mbytes_per_s: -1.0 given"),
        (spec("display", LOCAL | {"bus_mbytes_per_s": 1e9}), "params.bus_mbytes_per_s"),
        (spec("display", LOCAL | {"framebuffer": ""}), "params.framebuffer: '' given"),
        (spec("copier", COPIER | {"target": 7}), "params.target: 7 given"),
        (spec("copier", COPIER | {"source": "/dev/zero"}), "params.source: '/dev/zero' given"),
        (spec("copier", COPIER | {"target": "/dev/full"}), "params.target: '/dev/full' given"),
        (spec("copier", COPIER | {"target": COPIER["source"]}), "another file than params.source"),
        (spec("copier", COPIER | {"operation_bytes": 1 << 21}), "params.operation_bytes"),
        (spec("copier", COPIER, "copy"), "system: 'copy' given, one of linux, shipping expected"),
        (spec("copier", COPIER), "No such file"),
        (spec("copier", COPIER, "shipping"), "params.manager_socket: None given"),
        (spec("manager", {}), "params.interfaces: None given"),
        (spec("manager", MANAGER | {"interfaces": []}), "listen on the manager's socket"),
        (spec("manager", MANAGER | {"interfaces": [INTERFACE] * 9}), "params.interfaces: 9 given"),
        (spec("manager", MANAGER | {"interfaces": [{}]}), "name"),
        (spec("manager", MANAGER | {"interfaces": [INTERFACE | {"mac": 7}]}), ""),
        (spec("manager", MANAGER | {"backend": "packet"}), "attach to the interfaces"),
        (spec("manager", MANAGER | {"queue_datagrams": 0}), "params.queue_datagrams"),
        (
            spec("manager", MANAGER | {"pages": 1 << 20}),
            "params.pages: 1048576 given, a whole number from 1024",
        ),
        (
            spec("manager", MANAGER | {"backend": "dpdk"}),
            'params.backend: \'dpdk\' given, one of "auto", "xdp"',
        ),
        (spec("manager", MANAGER | {"backend": 7}), "params.backend"),
        (spec("manager", MANAGER | {"segmentation": 1}), "params.segmentation: 1 given, one of true, false"),
    ],
)
def test_what_cannot_be_done_is_one_error(line: str, words: str) -> None:
    code, events = answer(line)
    assert code == 1
    assert [event["event"] for event in events] == ["error"]
    assert words in events[0]["message"]


def test_the_end_of_stdin_stops_a_workload() -> None:
    code, events = answer(spec("sink", SINK))
    assert code == 0
    assert events[-1]["event"] == "done"


def test_the_table_lists_exactly_the_systems_there_are() -> None:
    assert systems() == ["linux", "linux-batch", "copy", "shipping"]
