"""A signal ends the work, lets it clean up, and only then goes where it would have gone."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """As asyncio.run. At the first of `HANDLED` the work is cancelled, and when it has cleaned up, the signal
    is given to the handler that was there before; later ones change nothing.

    An exception raised by that handler inside the event loop would be lost in whichever callback it hit.
    """
    received: list[signal.Signals] = []
    formerly = {number: signal.getsignal(number) for number in HANDLED}

    async def main() -> T:
        task = asyncio.ensure_future(work)
        loop = asyncio.get_running_loop()

        def interrupt(number: signal.Signals) -> None:
            if not received:
                task.cancel()
            received.append(number)

        for number in HANDLED:
            loop.add_signal_handler(number, interrupt, number)
        return await task

    try:
        return asyncio.run(main())
    finally:
        for number, handler in formerly.items():
            signal.signal(number, handler)
        if received:
            signal.raise_signal(received[0])
