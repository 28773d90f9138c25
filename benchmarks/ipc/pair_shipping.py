"""Our Python interface, as one end of a trial of `bench ipc`."""

from __future__ import annotations

from agents.shipping import attach
from benchmarks.ipc.work import TOUCH, WAIT_S, Work, wrong


class Shipping:
    """Containers over one channel for each direction."""

    def __init__(self, work: Work, sends: str | None, receives: str | None) -> None:
        self._size = work.size
        self._make, self._check = TOUCH[work.touched]
        self._map = self._make is not None
        self._host = attach(work.place)
        if sends:
            self._out = self._host.open_channel(sends, work.queue, WAIT_S)
        if receives:
            self._in = self._host.open_channel(receives, work.queue, WAIT_S)

    def send(self, number: int) -> None:
        container = self._host.alloc(self._size, map=self._map)
        if self._make is not None:
            self._make(container.view(), number)
        self._out.write((container,))

    def receive(self, number: int) -> None:
        (container,) = self._in.read(self._size, 1, map=self._map)
        if self._check is not None and not self._check(container.view(), number):
            raise wrong(number)
        container.free()

    def close(self) -> None:
        self._host.close()
