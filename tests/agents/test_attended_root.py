"""Captures and consoles on a real lab: what they show, what they may do, and how they end."""

from __future__ import annotations

import asyncio
import json
import os
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from agents.attendants import AT_ONCE
from agents.client import AgentError, Conversation, Place
from agents.host_privileges import KEPT
from tests.agents.machine_process import LAB, MachineProcess
from tests.agents.pcapng_reader import Stream, read
from tests.support import PATIENCE_S, alive, children, eventually

pytestmark = pytest.mark.root

LEFT: Place = ("hosts", "left", "interfaces", "eth0")
SNAPLEN = 262144
FLOOD = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
    for _ in range(6000):
        out.sendto(bytes(4000), ("{}", 9))
"""


async def address(machine: MachineProcess, host: str) -> str:
    return str((await machine.client.lab(LAB))["hosts"][host]["interfaces"][0]["address"])


def attendants(machine: MachineProcess, module: str) -> list[int]:
    def argv(pid: int) -> bytes:
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return b""

    return [pid for pid in children(machine.child.pid) if module.encode() in argv(pid)]


def grouped(pid: int) -> str:
    return Path(f"/proc/{pid}/cgroup").read_text()


def descriptors(pid: int) -> list[str]:
    return sorted(os.readlink(link).split(":")[0] for link in Path(f"/proc/{pid}/fd").iterdir())


def field(pid: int, name: str) -> str:
    text = Path(f"/proc/{pid}/status").read_text()
    return next(line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith(f"{name}:"))


def whole(data: bytes) -> Stream:
    """The blocks of a stream that have come to their end."""
    at = 0
    while at + 8 <= len(data) and at + struct.unpack_from("<I", data, at + 4)[0] <= len(data):
        at += struct.unpack_from("<I", data, at + 4)[0]
    return read(data[:at])


@pytest.mark.parametrize("place", [LEFT, ("networks", "wire")])
async def test_a_capture_has_every_frame_once_and_ends_at_its_limit(
    machine: MachineProcess, place: Place
) -> None:
    right = await address(machine, "right")
    async with machine.client.capture(LAB, place, 4, SNAPLEN) as stream:
        data = await anext(stream)
        await machine.client.exec(LAB, "left", ["ping", "-c", "1", right])
        async for more in stream:
            data += more
    found = read(data)
    kinds = [frame[12:14].hex() for _, frame, _, _ in found.frames]
    assert kinds == ["0806", "0806", "0800", "0800"]  # who has that address, that station, echo, its reply
    times = [when for when, *_ in found.frames]
    assert times == sorted(times)
    if place == LEFT:
        assert [direction for *_, direction in found.frames] == [2, 1, 2, 1]
    assert len(found.statistics) == 1 and found.statistics[0][2] == 0
    await eventually(lambda: not attendants(machine, "agents.capture"), "the process to be gone")


async def test_of_long_frames_only_so_much_is_kept(machine: MachineProcess) -> None:
    right = await address(machine, "right")
    async with machine.client.capture(LAB, LEFT, 3, 64) as stream:
        data = await anext(stream)
        await machine.client.exec(LAB, "left", ["ping", "-c", "1", "-s", "1000", right])
        async for more in stream:
            data += more
    _, frame, length, _ = read(data).frames[2]
    assert (len(frame), length) == (64, 1042)


async def test_a_slow_reader_costs_frames_that_are_counted_and_no_memory(machine: MachineProcess) -> None:
    program = FLOOD.format(await address(machine, "right"))
    async with machine.client.capture(LAB, LEFT, None, SNAPLEN) as stream:
        data = await anext(stream)
        (pid,) = attendants(machine, "agents.capture")
        await machine.client.exec(LAB, "left", ["/usr/bin/python3", "-c", program])
        assert int(field(pid, "RssAnon").split()[0]) < 64 << 10  # KiB
        async for more in stream:
            data += more
            if more and any(dropped for _, _, dropped in whole(data).statistics):
                break
    found = whole(data)
    _, received, dropped = found.statistics[-1]
    assert dropped > 0 and received >= dropped + len(found.frames) - 100


async def test_a_capture_may_do_nothing_but_that(machine: MachineProcess) -> None:
    async with machine.client.capture(LAB, LEFT, None, SNAPLEN) as stream:
        await anext(stream)
        (pid,) = attendants(machine, "agents.capture")
        for name in ("CapPrm", "CapEff", "CapBnd"):
            assert int(field(pid, name), 16) == 1 << KEPT["NET_RAW"]
        assert field(pid, "NoNewPrivs") == "1"
        assert f"{LAB}/left/agent" in grouped(pid)
        assert descriptors(pid) == ["pipe"] * 3 + ["socket"] * 2  # the ring, and its memory
    await eventually(lambda: not alive(pid), "it to end with its client")


async def test_there_are_so_many_at_once_and_all_end_with_the_lab(machine: MachineProcess) -> None:
    async def hold(stream: AsyncIterator[bytes]) -> bytes:
        return b"".join([data async for data in stream])

    async with machine.client.console(LAB, "left", {}) as talk:
        await talk.receive()
        async with (
            machine.client.capture(LAB, LEFT, None, SNAPLEN) as one,
            machine.client.capture(LAB, ("networks", "wire"), None, SNAPLEN) as other,
        ):
            pids = attendants(machine, "agents.")
            data = [await anext(one), await anext(other)]
            ends = [asyncio.create_task(hold(stream)) for stream in (one, other)]
            await machine.client.destroy(LAB)
            rests = await asyncio.wait_for(asyncio.gather(*ends), PATIENCE_S)
            for begun, rest in zip(data, rests, strict=True):
                assert len(read(begun + rest).statistics) >= 1
            while await talk.receive() is not None:
                pass
            assert not any(map(alive, pids))
            with pytest.raises(AgentError, match=f"there is no lab {LAB!r}"):
                async with machine.client.capture(LAB, LEFT, None, SNAPLEN):
                    pass


async def test_they_end_with_their_host_and_a_stopped_host_has_none(machine: MachineProcess) -> None:
    async with (
        machine.client.console(LAB, "left", {}) as talk,
        machine.client.capture(LAB, LEFT, None, SNAPLEN) as stream,
    ):
        await talk.receive()
        await anext(stream)
        await machine.client.stop_host(LAB, "left")
        while await talk.receive() is not None:
            pass
        async for _ in stream:
            pass
    for looking in (
        machine.client.capture(LAB, LEFT, None, SNAPLEN),
        machine.client.console(LAB, "left", {}),
    ):
        with pytest.raises(AgentError, match=r"'left' .* is stopped") as caught:
            async with looking:
                pass
        assert caught.value.status == 409
    before = await machine.client.notices(0, 0)
    await machine.client.start_host(LAB, "left")
    await machine.client.exec(LAB, "left", ["/bin/true"])
    (running,) = await machine.client.notices(len(before), 0)
    assert (running["host"], running["state"]) == ("left", "running")


async def test_more_than_may_be_are_refused(machine: MachineProcess) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(AT_ONCE):
            await stack.enter_async_context(machine.client.capture(LAB, LEFT, None, SNAPLEN))
        for looking in (
            machine.client.capture(LAB, LEFT, None, SNAPLEN),
            machine.client.console(LAB, "left", {}),
        ):
            with pytest.raises(AgentError, match=f"{AT_ONCE} captures and consoles") as caught:
                async with looking:
                    pass
            assert caught.value.status == 409


@pytest.mark.parametrize(
    ("place", "limit", "words"),
    [
        (("hosts", "left", "interfaces", "eth9"), 1, "there is no interface 'eth9' in host 'left'"),
        (("hosts", "none", "interfaces", "eth0"), 1, "there is no host 'none'"),
        (("networks", "none"), 1, "there is no network 'none'"),
        (LEFT, 0, "limit"),
    ],
)
async def test_what_cannot_be_captured_is_named(
    machine: MachineProcess, place: Place, limit: int, words: str
) -> None:
    with pytest.raises(AgentError, match=words):
        async with machine.client.capture(LAB, place, limit, SNAPLEN):
            pass


async def said(talk: Conversation) -> tuple[str, int]:
    """All that a console shows, and how it ended."""
    shown = b""
    while isinstance(data := await talk.receive(), bytes):
        shown += data
    assert isinstance(data, str)
    return shown.decode(), json.loads(data)["exit"]


async def test_a_console_is_a_login_shell_of_the_host(machine: MachineProcess) -> None:
    options = {"rows": "33", "columns": "77", "terminal": "vt100"}
    async with machine.client.console(LAB, "left", options) as talk:
        await talk.send(b"stty -echo; stty size; echo =$TERM=$0; cat /proc/net/dev; id -u; exit 7\r")
        shown, status = await said(talk)
    assert "33 77" in shown and "=vt100=-" in shown and "eth0:" in shown
    assert status == 7


async def test_a_console_has_the_hosts_capabilities_and_nothing_of_the_agents(
    machine: MachineProcess,
) -> None:
    async with machine.client.console(LAB, "left", {}) as talk:
        await talk.send(b"stty -echo; exec cat /proc/self/status /proc/self/cgroup /proc/self/environ\r")
        shown, _ = await said(talk)
    kept = sum(1 << bit for bit in KEPT.values()) & int(field(os.getpid(), "CapBnd"), 16)
    assert f"CapBnd:\t{kept:016x}" in shown and f"{LAB}/left/agent" in shown
    assert "TRANSSHIP" not in shown and "PYTHON" not in shown


async def test_a_console_follows_its_window_and_obeys_control_c(machine: MachineProcess) -> None:
    async with machine.client.console(LAB, "left", {}) as talk:
        await talk.send('{"rows": 10, "columns": 20}')
        # What says that it goes is in the foreground then, and the one whom Control-C is for.
        program = b"""sh -c 'trap "echo caught; exit" INT; echo go; while :; do sleep 1; done'"""
        await talk.send(b"stty -echo; stty size; " + program + b"\r")
        shown = b""
        while b"\ngo\r" not in shown:
            data = await talk.receive()
            assert isinstance(data, bytes)
            shown += data
        await talk.send(b"\x03")
        await talk.send(b"exit 0\r")
        rest, status = await said(talk)
    assert "10 20" in shown.decode() and "caught" in rest and status == 0


async def test_what_is_no_window_ends_the_console(machine: MachineProcess) -> None:
    async with machine.client.console(LAB, "left", {}) as talk:
        await talk.send('{"rows": 0}')
        while await talk.receive() is not None:
            pass
    await eventually(lambda: not attendants(machine, "agents.console"), "the shell to be gone")


async def test_a_console_left_alone_ends_its_shell(machine: MachineProcess) -> None:
    async with machine.client.console(LAB, "left", {}) as talk:
        await talk.receive()
        shells = children(machine.child.pid)
        assert shells
    await eventually(lambda: not set(shells) & set(children(machine.child.pid)), "the shell to be gone")
