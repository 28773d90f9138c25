"""Objects that are closed at the end of their `with` block."""

from __future__ import annotations

from types import TracebackType
from typing import Self


class Closing:
    """Its `close` is called at the end of a `with` block, whatever ends that."""

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
