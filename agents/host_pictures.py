"""What the displays of one host show, for who looks."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from agents.errors import Problem
from agents.host_workloads import Workload
from agents.pictures import Picture
from agents.processes import Child, ending, tail_of

COMMAND = (sys.executable, "-m", "agents.picture_maker")
LIMIT_S = 30.0
"""Seconds that one picture may take: a manager on a small CPU budget answers late."""
IDLE_S = 10.0
"""Seconds without a look after which the process that makes pictures ends: it is memory."""


class Pictures:
    """Makes pictures one after the other, in a process of its own that lives as long as somebody looks."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._maker: _Maker | None = None
        self._idle: asyncio.TimerHandle | None = None

    async def of(self, workload: Workload, width: int | None) -> Picture:
        """What a display shows now, at most `width` pixels wide. Raises `Problem`."""
        _check(workload)
        asked: dict[str, Any] = {"width": width, "pid": workload.pid}
        if workload.manager is not None:
            del asked["pid"]
            asked["manager"] = workload.params["manager_socket"]
            asked["name"] = workload.params.get("framebuffer", "screen0")
        async with self._turn:
            answer, image = await self._made(asked)
        if "frame" not in answer:
            _check(workload)  # it may have ended meanwhile, and this is why
        if "missing" in answer:
            raise Problem(409, f"{workload.id} shows nothing: {answer['missing']}", "workload")
        if "broken" in answer:
            raise Problem(502, f"no picture of {workload.id} could be made: {answer['broken']}")
        return Picture(answer["frame"], image)

    async def kill(self) -> None:
        """Ends the process that makes them."""
        self._rest()
        maker, self._maker = self._maker, None
        if maker is not None:
            await maker.child.kill()

    async def _made(self, asked: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        self._rest()
        try:
            if self._maker is None or self._maker.child.returncode is not None:
                self._maker = _Maker()
            return await asyncio.wait_for(self._maker.make(asked), LIMIT_S)
        except OSError as error:  # TimeoutError, too
            await self.kill()
            why = str(error) or f"it took more than {LIMIT_S:g} s"
            raise Problem(502, f"the picture could not be made: {why}") from None
        except BaseException:
            await self.kill()  # what it answers would be taken for the next answer
            raise
        finally:
            self._idle = asyncio.get_running_loop().call_later(IDLE_S, self._retire)

    def _rest(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _retire(self) -> None:
        maker, self._maker = self._maker, None
        if maker is not None:
            maker.child.close_input()  # which is how it is told to end


def _check(workload: Workload) -> None:
    if workload.workload != "display":
        raise Problem(409, f"{workload.id} is a {workload.workload}; pictures are of a display", "workload")
    if not workload.active:
        raise Problem(409, f"{workload.id} has ended, and shows nothing any more", "workload")


class _Maker:
    """The process, and the answer that it is giving."""

    def __init__(self) -> None:
        self.child = Child(COMMAND, on_output=self._take, on_exit=self._ended, dies_with_us=True)
        self._held = bytearray()
        self._head: dict[str, Any] | None = None
        self._answer: asyncio.Future[tuple[dict[str, Any], bytes]] | None = None

    async def make(self, asked: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Its answer. Raises `OSError` when it ends instead."""
        self._answer = asyncio.get_running_loop().create_future()
        self.child.write(json.dumps(asked).encode() + b"\n")
        return await self._answer

    def _take(self, data: bytes) -> None:
        self._held += data
        if self._head is None and b"\n" in self._held:
            line, _, self._held = self._held.partition(b"\n")
            self._head = json.loads(line)
        if self._head is None or len(self._held) < self._head.get("bytes", 0):
            return
        head, image = self._head, bytes(self._held)
        self._head, self._held = None, bytearray()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((head, image))

    def _ended(self, returncode: int) -> None:
        if self._answer is not None and not self._answer.done():
            words = f"its process {ending(returncode)}{tail_of(self.child.stderr)}"
            self._answer.set_exception(OSError(words))
