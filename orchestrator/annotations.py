"""What happens in the orchestrator, as Grafana's annotations: marks on every dashboard, while runs run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.events import Event
from orchestrator.experiments.result import told

TAG = "transship"
"""What the dashboards look for, beside run, change or fault."""
LONGEST = 500
"""Characters of a text."""
ENDED = {"done", "invalid", "failed", "cancelled", "paused", "interrupted"}


@dataclass(frozen=True)
class Annotation:
    """A mark at `begin` (Unix time), or over what lies between it and `end`."""

    text: str
    tags: tuple[str, ...]
    begin: float
    end: float | None = None


class Annotations:
    """Makes annotations of events; remembers what has begun, so that its end can be marked as a stretch."""

    def __init__(self) -> None:
        self._begun: dict[str, float] = {}
        self._phase: tuple[str, str] | None = None
        self._trial: tuple[Any, float] | None = None

    def of(self, event: Event) -> Iterator[Annotation]:
        """The annotations of an event."""
        about = event.data
        match event.kind:
            case "run":
                yield from self._run(event)
            case "progress":
                yield from self._progress(event)
            case "lab" if about["state"] in ("ready", "failed", "destroyed"):
                kind = "fault" if about["state"] == "failed" else "change"
                yield _mark(event, kind, f"lab {about['lab']} is {about['state']}")
            case "network":
                kind = "fault" if about["state"] == "cut" else "change"
                yield _mark(event, kind, f"{_place(about)} {_change(about)}")
            case "host":
                kind = "fault" if about["state"] == "stopped" else "change"
                yield _mark(event, kind, f"host {about['host']} is {about['state']}")
            case "hogs":
                yield _mark(event, "change", f"{told({'hogs': about['hogs']})} on {about['host']}")
            case "agent" if about["state"] == "failed":
                yield _mark(event, "fault", f"the agent of host {about['host']} failed")
            case "machine" if about["message"]:
                yield _mark(event, "fault", f"the machine agent {about['machine']} is {about['state']}")

    def _run(self, event: Event) -> Iterator[Annotation]:
        run, state = event.data["run"], event.data["state"]
        if state == "running":
            self._begun[run], self._phase, self._trial = event.at, None, None
            yield _mark(event, "run", f"run {run} begins")
        elif state in ENDED:
            verdict = event.data["verdict"]
            text = f"run {run} is {state}" + (f": {verdict}" if verdict and verdict != state else "")
            yield _mark(event, "run", text, self._begun.pop(run, None))

    def _progress(self, event: Event) -> Iterator[Annotation]:
        about = event.data
        run, phase, trial = about["run"], about["phase"], about.get("trial")
        if happened := about.get("happened"):
            # An event of a trial's time line, between two reports of progress.
            yield _mark(event, "fault" if happened.startswith("cut ") else "change", happened)
            return
        # A trial that has ended is told with the next report, and lasted since the one before.
        if trial is not None and self._trial is not None and trial["number"] != self._trial[0]:
            yield _mark(event, "run", _trial(trial), self._trial[1])
        if self._phase != (run, phase):
            self._phase = (run, phase)
            yield _mark(event, "run", f"run {run}: {phase}")
        self._trial = (trial["number"] if trial is not None else None, event.at)


def _mark(event: Event, kind: str, text: str, since: float | None = None) -> Annotation:
    """A mark at an event, or from `since` to it."""
    message = str(event.data.get("message") or "")
    named = (f"{name}:{event.data[name]}" for name in ("lab", "host", "network") if event.data.get(name))
    run = (f"run:{event.run}",) if event.run else ()
    begin, end = (event.at, None) if since is None else (since, event.at)
    return Annotation(
        (f"{text}: {message}" if message else text)[:LONGEST], (TAG, kind, *named, *run), begin, end
    )


def _place(about: Mapping[str, Any]) -> str:
    return f"the link of {about['host']} to {about['network']}" if about["host"] else str(about["network"])


def _change(about: Mapping[str, Any]) -> str:
    """What happened to a network."""
    if about["state"] != "changed":
        return f"is {about['state']}"
    set_to = {name: about[name] for name in ("rate_mbps", "loss", "delay_ms", "jitter_ms") if about.get(name)}
    return f"changed: {told(set_to) or 'no limit, no impairment'}"


def _trial(trial: Mapping[str, Any]) -> str:
    """A trial in a few words."""
    factors = trial["factors"] if "factors" in trial else {"hogs": trial["hogs"]}
    text = f"trial {trial['number']}: " + ", ".join(filter(None, (trial["system"], told(factors))))
    if trial.get("throughput_mbps") is not None:
        text += f": {trial['throughput_mbps']:.1f} Mb/s, {100 * (trial['loss'] or 0):.1f} % lost"
    return text if trial["valid"] else f"{text}; INVALID: {'; '.join(trial['reasons'])}"
