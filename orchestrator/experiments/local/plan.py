"""Every number that decides how the trials of an experiment within one host are done."""

from __future__ import annotations

from dataclasses import dataclass, replace

from orchestrator.experiments.definitions import Options
from orchestrator.experiments.plan import TrialPlan

POOL_PAGES = 32768
"""Of a pool that is no bottleneck of a scene. In a small one frames that come back have no room to wait until
they are used again, so that the manager is asked for others; and a file is read in shorter pieces while what
was written waits for the disk."""


@dataclass(frozen=True)
class LocalPlan(TrialPlan):
    """Of local communication. `local_plan` gives the defaults of a run."""

    warmup_s: float = 0.5
    measured_s: float = 2.0
    """By time and not the paper's 32 MB, which is over in milliseconds."""
    queue_operations: int = 64
    queue_large: int = 8
    queue_frames: int = 4
    """What may wait in a channel: operations of 128 KiB, of 2 MiB, frames."""
    file_bytes: int = 64 << 20
    """What `cp` copies."""


def local_plan(options: Options) -> LocalPlan:
    """The plan of a run: `quick` is one short trial each."""
    plan = LocalPlan()
    if options.quick:
        plan = replace(plan, trials=1, warmup_s=0.3, measured_s=1.0)
    return plan if options.trials is None else replace(plan, trials=options.trials)
