"""Ctrl-C and its relatives: the first ends the verb, which cleans up; further ones do not disturb."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """The user or the system wants the verb to end. `code` is the exit status, as a shell has it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


class Interrupts:
    """The signals, turned into one `Interrupted` raised in the main thread."""

    def __init__(self) -> None:
        self._received: int | None = None
        self._held = 0
        self._raised = False
        self._told = False

    def install(self) -> None:
        """Take the signals over."""
        for number in HANDLED:
            signal.signal(number, self._handle)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """A step of well under a second whose outcome must be known; an interruption is raised at its end."""
        with self.shielded():
            yield
        if self._received is not None and not self._held:
            self._raise(self._received)

    @contextmanager
    def shielded(self) -> Iterator[None]:
        """Cleaning up: an interruption changes nothing any more."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._received = self._received or number
        if not self._held and not self._raised:
            self._raise(number)
        elif self._raised and not self._told:
            self._told = True
            print("transship: already cleaning up, a few seconds", file=sys.stderr)

    def _raise(self, number: int) -> None:
        if not self._raised:
            self._raised = True
            raise Interrupted(number)


interrupts = Interrupts()
