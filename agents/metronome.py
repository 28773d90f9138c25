"""Keeps a host's CPU budget exact: without it a small budget comes in bursts of the kernel's 4 ms tick."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence

from agents.shipping._shipping import ffi, lib

PERIOD_NS = 500_000

log = logging.getLogger(__name__)


class Metronome:
    """A real-time thread for each of a host's CPUs, which wakes every half millisecond and does nothing.

    What it costs is outside every budget and the same for every system; it has not been measured. Where
    real-time priority is refused (a control group without a real-time share), budgets hold on average but
    not from moment to moment; that is logged.
    """

    def __init__(self, cpus: Sequence[int]) -> None:
        self._control = ffi.new("struct ts_control *")
        self._threads = [threading.Thread(target=self._run, args=[cpu], daemon=True) for cpu in cpus]
        for thread in self._threads:
            thread.start()

    def _run(self, cpu: int) -> None:
        error = lib.ts_metronome(self._control, cpu, PERIOD_NS)
        if error < 0:
            log.warning("no exact budgets on CPU %d: real-time priority: %s", cpu, os.strerror(-error))

    def stop(self) -> None:
        """Ends the threads, within one period."""
        lib.ts_control_stop(self._control)
        for thread in self._threads:
            thread.join()
