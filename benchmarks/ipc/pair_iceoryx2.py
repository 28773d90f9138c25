"""iceoryx2's Python interface, as one end of a trial of `bench ipc`.

Publish-subscribe with loaned slices, as in its examples; without loss: no safe overflow, and a publisher that
finds the subscriber's buffer full tries again until there is room.
"""

from __future__ import annotations

import ctypes
from typing import Any

import iceoryx2 as iox2

from benchmarks.ipc.place import shared_memory_prefix
from benchmarks.ipc.work import TOUCH, Work, wrong


class Polling:
    """Who waits for a message asks again and again: publish-subscribe has nothing else."""

    def __init__(self, work: Work, sends: str | None, receives: str | None) -> None:
        self._size = work.size
        self._make, self._check = TOUCH[work.touched]
        iox2.set_log_level(iox2.LogLevel.Error)
        # Under names of this trial's own, so that what killed processes leave can be removed.
        config = iox2.config.default()
        config.global_cfg.root_path = iox2.Path.new(work.place)
        config.global_cfg.prefix = iox2.FileName.new(shared_memory_prefix(work.place))
        self._node = iox2.NodeBuilder.new().config(config).create(iox2.ServiceType.Ipc)
        if sends:
            publisher = self._service(sends, work.queue).publisher_builder()
            publisher = publisher.initial_max_slice_len(work.size)
            publisher = publisher.backpressure_strategy(iox2.BackpressureStrategy.RetryUntilDelivered)
            self._out: Any = publisher.create()
        if receives:
            self._in: Any = self._service(receives, work.queue).subscriber_builder().create()

    def _name(self, direction: str) -> Any:
        return self._node.service_builder(iox2.ServiceName.new(direction))

    def _service(self, direction: str, queue: int) -> Any:
        builder = self._name(direction).publish_subscribe(iox2.Slice[ctypes.c_uint8])
        builder = builder.enable_safe_overflow(False).subscriber_max_buffer_size(queue).history_size(0)
        return builder.max_publishers(1).max_subscribers(1).open_or_create()

    def send(self, number: int) -> None:
        sample = self._out.loan_slice_uninit(self._size)
        if self._make is not None:
            self._make(sample.payload().as_memory_view(), number)
        sample.assume_init().send()

    def receive(self, number: int) -> None:
        while (sample := self._in.receive()) is None:
            self._wait()
        if self._check is not None and not self._check(sample.payload().as_memory_view(), number):
            raise wrong(number)

    def _wait(self) -> None:
        """Until there may be a message."""

    def close(self) -> None:
        """Ports go before the node that they belong to."""
        for name in ("_out", "_in", "_notifier", "_listener", "_node"):
            if hasattr(self, name):
                delattr(self, name)


class Waiting(Polling):
    """The same beside an event service, as in its example of event-based communication: whoever has sent a
    message notifies, and whoever finds none sleeps until notified."""

    def __init__(self, work: Work, sends: str | None, receives: str | None) -> None:
        super().__init__(work, sends, receives)
        if sends:
            self._notifier: Any = self._event(sends).notifier_builder().create()
        if receives:
            self._listener: Any = self._event(receives).listener_builder().create()

    def _event(self, direction: str) -> Any:
        return self._name(direction).event().open_or_create()

    def send(self, number: int) -> None:
        super().send(number)
        self._notifier.notify()

    def _wait(self) -> None:
        self._listener.blocking_wait()
