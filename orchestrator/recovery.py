"""What becomes of the runs that were queued or under way when a server died."""

import logging
from collections.abc import Callable
from dataclasses import replace

from agents.errors import Problem
from orchestrator.runs import Engine, has_own_lab
from orchestrator.store import INTERRUPTED, Run, interrupted

log = logging.getLogger(__name__)

MOST = 3
"""Deaths of the orchestrator during one run after which that is left alone: it may be what kills it."""


def going_on(engine: Engine) -> Callable[[Run], Run]:
    """Says what becomes of each: queued again in its old place, or interrupted, and why."""

    def decide(run: Run) -> Run:
        deaths = run.interruptions + (run.state == "running")
        when = f"was under way, {deaths} of at most {MOST} times" if run.state == "running" else "waited"
        run = replace(run, interruptions=deaths)
        why = _obstacle(engine, run)
        if why is not None:
            return interrupted(run, why)
        return replace(run, state="queued", message=f"queued again: the orchestrator died while this {when}")

    return decide


def _obstacle(engine: Engine, run: Run) -> str | None:
    """Why a run cannot go on by itself; None if it can."""
    if run.queued is None:
        return INTERRUPTED
    if run.interruptions >= MOST:
        return f"{INTERRUPTED} {run.interruptions} times while this was under way; it goes on when told to"
    if not has_own_lab(run):
        return f"{INTERRUPTED}, and the lab {run.lab!r} with it; deploy that, then let the run go on"
    try:
        engine.topology(run.experiment, run.options)
    except Problem as error:
        return f"{INTERRUPTED}, and the run cannot go on: {error.detail}"
    except Exception as error:
        # Whatever stands in the index, edited by hand or written by another version, the others go on.
        log.exception("fault in the experiment of the run %s", run.id)
        return f"{INTERRUPTED}, and the run cannot go on: {type(error).__name__}: {error}"
    return None
