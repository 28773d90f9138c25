"""How far a run or a benchmark is, on stderr: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from types import TracebackType
from typing import Any

LINE_S = 10.0
"""Seconds between two lines of the same phase where there is no terminal."""


def duration(seconds: float) -> str:
    """Seconds for people: 45 s, 3 min 20 s, 1 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


class Lines:
    """Progress as plain lines."""

    def __init__(self) -> None:
        self._phase = ""
        self._printed = 0.0

    def __enter__(self) -> "Lines":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def show(self, event: dict[str, Any]) -> None:
        """Tell of a progress event: phase, done, total, seconds_left."""
        phase, moment = str(event.get("phase", "")), time.monotonic()
        finished = event.get("done") == event.get("total")
        if phase == self._phase and moment - self._printed < LINE_S and not finished:
            return
        self._phase, self._printed = phase, moment
        left = event.get("seconds_left")
        tail = f", {duration(left)} left" if left is not None else ""
        print(f"{phase}: {event.get('done', 0)}/{event.get('total', 0)}{tail}", file=sys.stderr, flush=True)


class Bar:
    """Progress as a bar with the time left."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}"),
            console=Console(stderr=True),
            transient=True,
            refresh_per_second=2,  # whoever watches must not take the CPU from what is measured
        )
        self._task = self._progress.add_task("starting", total=None, left="")

    def __enter__(self) -> "Bar":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, event: dict[str, Any]) -> None:
        """Tell of a progress event: phase, done, total, seconds_left."""
        left = event.get("seconds_left")
        self._progress.update(
            self._task,
            description=str(event.get("phase", "")),
            completed=event.get("done", 0),
            total=event.get("total"),
            left=f"{duration(left)} left" if left is not None else "",
        )


def progress() -> Bar | Lines:
    """What fits where stderr goes."""
    return Bar() if sys.stderr.isatty() else Lines()
