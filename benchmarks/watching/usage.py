"""What a process takes: CPU time and memory, from /proc."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGESIZE")


@dataclass(frozen=True)
class Usage:
    """Of a process at a moment."""

    moment: float
    cpu_s: float
    memory_mb: float

    @classmethod
    def of(cls, pid: int) -> Usage:
        """Now."""
        # The name of a program may have spaces and brackets in it; what is counted stands behind.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return cls(time.monotonic(), (int(fields[11]) + int(fields[12])) / _TICKS, pages * _PAGE / 1e6)

    def since(self, before: Usage) -> float:
        """CPU seconds per second."""
        return (self.cpu_s - before.cpu_s) / (self.moment - before.moment)
