"""Large pages for the pools that want them: the kernel may make so many, and has them back with their pool.

`nr_overcommit_hugepages` (the kernel's admin-guide/mm/hugetlbpage) sets nothing aside: it is how many may be
made beyond those that are. The manager of a host cannot raise it, and a machine has it at 0 unless somebody
did otherwise.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

LIMIT = Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_overcommit_hugepages")
PAGES = 2048
"""As many as the largest pool has; those of several pools at once may be fewer, and are small ones then."""

log = logging.getLogger(__name__)


@contextlib.contextmanager
def may_be_made(run_root: Path, limit: Path = LIMIT) -> Iterator[None]:
    """Raises the machine's limit by PAGES, and lowers it by as many at the end.

    What was raised stands in `run_root` until then: after a SIGKILL the next agent there lowers it. Where the
    limit cannot be set (a container whose /sys is read-only) all stays as it is.
    """
    record = run_root / "huge-pages"
    try:
        if record.exists():
            _change(limit, -int(record.read_text()))
            record.unlink()
        record.write_text(f"{PAGES}\n")
        _change(limit, PAGES)
    except OSError as error:
        record.unlink(missing_ok=True)
        log.info("pools get small pages unless large ones are set aside: %s", error)
        yield
        return
    try:
        yield
    finally:
        _change(limit, -PAGES)
        record.unlink()


def _change(limit: Path, by: int) -> None:
    limit.write_text(f"{max(0, int(limit.read_text()) + by)}\n")
