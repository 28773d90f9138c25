"""Every number that decides how the trials of an experiment within one host are done."""

from __future__ import annotations

from dataclasses import dataclass, replace

from orchestrator.experiments.definitions import Options

POOL_PAGES = 32768
"""Of a pool that is no bottleneck of a scene. In a small one frames that come back have no room to wait until
they are used again, so that the manager is asked for others; and a file is read in shorter pieces while what
was written waits for the disk."""


@dataclass(frozen=True)
class LocalPlan:
    """Times in seconds. `local_plan` gives the defaults of a run."""

    trials: int = 7
    warmup_s: float = 0.5
    measured_s: float = 2.0
    """By time and not the paper's 32 MB, which is over in milliseconds."""
    look_s: float = 0.05
    """A look at the CPU time that took longer is made again: it is not known when it was."""
    repeated: float = 0.25
    """Invalid trials are done again, each once, up to this fraction of all (and at least 3)."""
    overhead_s: float = 1.5
    """Guess of what starting and stopping one trial's processes takes, until trials have been seen."""
    queue_operations: int = 32
    queue_frames: int = 4
    """What may wait in a channel."""
    file_bytes: int = 64 << 20
    """What `cp` copies."""
    resamples: int = 10_000


def local_plan(options: Options) -> LocalPlan:
    """The plan of a run: `quick` is one short trial each."""
    plan = LocalPlan()
    if options.quick:
        plan = replace(plan, trials=1, warmup_s=0.3, measured_s=1.0)
    return plan if options.trials is None else replace(plan, trials=options.trials)
