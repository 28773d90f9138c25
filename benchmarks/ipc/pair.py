"""The Python side of `bench ipc`: two Python processes on two cores, one makes messages, the other looks at
them.

`python -m benchmarks.ipc.pair SYSTEM SIZE SECONDS TOUCHED MEASURE CPU CPU PLACE PARENT` takes what ipc/main.c
takes, does the same work, and prints the same JSON object. PLACE: the socket of a manager, or, for iceoryx2,
a path that nobody else uses.
"""

from __future__ import annotations

import json
import mmap
import os
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

from agents.processes import die_with_parent
from benchmarks.ipc.work import Way, Work

BIG, LOOK_EVERY = 64 << 10, 64


def open_way(work: Work, sends: str | None, receives: str | None) -> Way:
    """This process's end: it sends into the direction of that name, and receives from the other."""
    module, _, name = {
        "shipping-python": "pair_shipping:Shipping",
        "iceoryx2": "pair_iceoryx2:Polling",
        "iceoryx2-events": "pair_iceoryx2:Waiting",
    }[work.system].partition(":")
    way: Way = getattr(import_module(f"benchmarks.ipc.{module}"), name)(work, sends, receives)
    return way


def measure(
    work: Work, step: Callable[[int], None], number: int, look_every: int
) -> tuple[int, dict[str, Any]]:
    """As `measure` of main.c, from the step after `number`: the last step's number, and what was measured."""
    first = number
    start, begun = time.monotonic(), 0.0
    now = start
    while not begun or now < begun + work.seconds:
        for _ in range(look_every):
            number += 1
            step(number)
        now = time.monotonic()
        if not begun and now >= start + work.seconds / 5:
            begun, first = now, number
    return number, {"messages": number - first, "seconds": now - begun, "pages": ""}


class Shared:
    """Three numbers that both processes see."""

    def __init__(self) -> None:
        self._words = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("Q")

    @property
    def stop(self) -> bool:
        """The measurer has enough."""
        return self._words[0] != 0

    @stop.setter
    def stop(self, value: bool) -> None:
        self._words[0] = value

    @property
    def last(self) -> int:
        """The number of the writer's last message, once it has seen `stop`; before, 0."""
        return self._words[1]

    @last.setter
    def last(self, value: int) -> None:
        self._words[1] = value

    @property
    def met(self) -> bool:
        """The first message has arrived."""
        return self._words[2] != 0

    @met.setter
    def met(self, value: bool) -> None:
        self._words[2] = value


def write_all(way: Way, shared: Shared) -> None:
    """Messages until told to stop, and one more: so a reader that does not know the last one can wait.

    The first one alone: iceoryx2 drops what finds no room until the subscriber has met the publisher.
    """
    number = 1
    way.send(number)
    while not shared.met:
        time.sleep(0.001)
    while not shared.stop:
        number += 1
        way.send(number)
    shared.last = number + 1
    way.send(number + 1)


def read_all(way: Way, shared: Shared, work: Work) -> dict[str, Any]:
    """Measured, then read to the end, so that the writer need not be killed."""
    way.receive(1)
    shared.met = True
    number, found = measure(work, way.receive, 1, LOOK_EVERY if work.size < BIG else 1)
    shared.stop = True
    while number != shared.last:
        number += 1
        way.receive(number)
    return found


def echo(way: Way, shared: Shared) -> None:
    """Look at each message and make one in return."""
    number = 0
    while not shared.stop:
        number += 1
        way.receive(number)
        way.send(number)


def call(way: Way, shared: Shared, work: Work) -> dict[str, Any]:
    """Measured round trips, and one more for the other side to see that it was the last."""

    def there_and_back(number: int) -> None:
        way.send(number)
        way.receive(number)

    number, found = measure(work, there_and_back, 0, 1)
    shared.stop = True
    there_and_back(number + 1)
    return found


def run(work: Work) -> dict[str, Any]:
    """Both processes. Raises RuntimeError when the other one fails."""
    shared = Shared()
    ready, say_ready = os.pipe()
    parent = os.getpid()
    round_trip = work.measure == "round-trip"
    other = os.fork()
    if other == 0:
        failed = 1
        try:
            die_with_parent(parent)
            os.sched_setaffinity(0, {work.cpus[round_trip]})
            if round_trip:  # who reads first is there first
                way = open_way(work, "back", "there")
                os.write(say_ready, b"r")
                echo(way, shared)
            else:
                os.read(ready, 1)
                way = open_way(work, "there", None)
                write_all(way, shared)
            way.close()
            failed = 0
        except Exception as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
        finally:
            os._exit(failed)
    os.sched_setaffinity(0, {work.cpus[not round_trip]})
    if round_trip:
        os.close(say_ready)
        if not os.read(ready, 1):
            raise RuntimeError("the other process failed")
        way = open_way(work, "there", "back")
        found = call(way, shared, work)
    else:
        way = open_way(work, None, "there")
        os.write(say_ready, b"r")
        found = read_all(way, shared, work)
    way.close()
    _, status = os.waitpid(other, 0)
    if status:
        raise RuntimeError("the other process failed")
    return found


if __name__ == "__main__":
    system, size, seconds, touched, measured, cpu, other_cpu, place, parent = sys.argv[1:]
    die_with_parent(int(parent))
    cpus = (int(cpu), int(other_cpu))
    print(json.dumps(run(Work(system, int(size), float(seconds), touched, measured, cpus, place))))
