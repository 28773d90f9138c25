"""Every number that decides how trials and calibration are done, in one place."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from orchestrator.experiments.definitions import Options


@dataclass(frozen=True)
class TrialPlan:
    """What the trials of every experiment need. Times in seconds unless named otherwise."""

    trials: int = 7
    warmup_s: float = 1.5
    measured_s: float = 3.0
    sample_s: float = 0.5
    """The intervals of a trial's series."""
    look_s: float = 0.05
    """A look at a counter that took longer is made again: it is not known when it was."""
    repeated: float = 0.25
    """Invalid trials are done again, each once, up to this fraction of all (and at least 3)."""
    overhead_s: float = 1.5
    """Guess of what starting and stopping one trial's processes takes, until trials have been seen."""
    resamples: int = 10_000


@dataclass(frozen=True)
class ForwardingPlan(TrialPlan):
    """Of every experiment that forwards datagrams."""

    drain_s: float = 2.0


@dataclass(frozen=True)
class Plan(ForwardingPlan):
    """Of `fddi`. `plan_for` gives the defaults of a run."""

    budgeted_s: float = 6.0
    """Measured instead in `period`: the CPU is had there in turns of some 3 ms, and beside 3 hogs a system
    gets three of them in 3 s, one more or one less by chance."""

    cpu_period_us: int = 500_000
    """CFS period of the middle host's budget. It is long so that a period's budget is longer than the turns
    that the scheduler gives to hogs and I/O (about 3 ms): with a budget shorter than a turn, each period's
    went to one of them, and the I/O path got more than its share (linux against 3 hogs: 0.38 of the budget
    with 100 ms, 0.28 with 500 ms)."""
    budget_start: float = 0.013
    budget_range: tuple[float, float] = (0.01, 1.0)
    """Budgets to search, as a fraction of one CPU."""
    curve: tuple[tuple[int, float], ...] = ((0, 0.93), (1, 1 / 2), (2, 1 / 3), (3, 1 / 4))
    """The paper's conventional I/O: hogs, throughput as a fraction of the ring (without hogs: what is
    offered)."""
    budget_steps: int = 6
    """Steps towards the budget that gives the curve's value with one hog, at most."""
    budget_close: float = 0.02
    """Closer than this fraction to that value, no further step is made."""
    budget_around: tuple[float, ...] = (0.85, 1.0, 1.2)
    """Multiples of the budget found at which the whole curve is measured; the best fit wins."""
    budget_misfit: float = 0.15
    """A best fit that is further off than this fraction is told with the result."""
    probe_settle_s: float = 0.5
    probe_s: float = 2.0
    """Both are whole numbers of CPU periods: a budgeted host works in a burst at the start of each."""

    queue_min: int = 256
    queue_periods: float = 1.5
    """Under a budget: what arrives in a CPU period, and half as much again, so that being throttled for a
    part of a period alone never overflows a queue. No more: what waits longer is lost to the caches (in short
    trials against 3 hogs `shipping` did less with 2.5 periods than with 1.5)."""
    queue_turns: float = 2.0
    turn_us: int = 4_000
    """Without a budget: what arrives while each hog has its turn of the CPU (a tick of 250 Hz), twice."""
    queue_choices: tuple[int, ...] = (256, 512, 1024, 2048, 4096)
    """`scaled`: capacities in datagrams of which one is chosen with conventional I/O."""
    queue_rounds: int = 2
    """How often each is tried at each load."""
    queue_close: float = 0.02
    """Of capacities whose errors differ by no more than this, which is noise, the shortest is taken."""

    search_start_mbps: float = 500.0
    search_max_mbps: float = 9_000.0
    search_resolution: float = 0.025
    search_attempts: int = 2
    """A rate has failed when it failed so often in a row: one hiccup of the machine must not end a search."""
    search_step_s: float = 0.6
    step_down: float = 0.94
    """`scaled`: from a rate that source, sink or wire cannot hold under load to the next one tried."""
    headroom: float = 0.92
    """Where source, sink or wire limit `scaled`, this part of what they hold is used: at their very limit
    every other trial would miss its load."""
    sustained_loss: float = 0.005
    """Loss up to which conventional I/O "sustains" a rate in `scaled`; `modern` allows none."""

    def budgeted_queue(self, rate_mbps: float, datagram_bytes: int) -> int:
        """Capacity of each queue in datagrams, the same for every system, where the CPU has a budget."""
        return self._queue(self.queue_periods * self.cpu_period_us, rate_mbps, datagram_bytes)

    def loaded_queue(self, rate_mbps: float, datagram_bytes: int, hogs: int) -> int:
        """The same without a budget, beside so many hogs; without any, as beside one."""
        return self._queue(self.queue_turns * self.turn_us * max(1, hogs), rate_mbps, datagram_bytes)

    def _queue(self, away_us: float, rate_mbps: float, datagram_bytes: int) -> int:
        return max(self.queue_min, math.ceil(away_us / 8 * rate_mbps / datagram_bytes))


def plan_for(options: Options) -> Plan:
    """The plan of a run: `quick` is one short trial each, with a short calibration."""
    plan = Plan()
    if options.profile == "period":
        plan = replace(plan, measured_s=plan.budgeted_s)
    if options.quick:
        plan = replace(
            plan,
            trials=1,
            warmup_s=0.6,
            measured_s=1.0,
            cpu_period_us=250_000,
            budget_steps=2,
            budget_close=0.05,
            budget_around=(1.0,),
            probe_settle_s=0.5,
            probe_s=1.0,
            search_step_s=0.3,
            queue_choices=(512, 1024, 2048),
            queue_rounds=1,
            search_resolution=0.1,
        )
    return plan if options.trials is None else replace(plan, trials=options.trials)
