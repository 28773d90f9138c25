"""Events as users write them: `at 5s: hogs=2`, `at 10s: ring-b.rate=50`."""

from __future__ import annotations

import re

from orchestrator.experiments.own.addresses import knobs, vary
from orchestrator.experiments.own.document import Document
from orchestrator.experiments.timeline import Event
from topologies import Topology

MOMENT = re.compile(r"at\s+(?P<count>[0-9]{1,6}(\.[0-9]{1,6})?)\s*(?P<unit>ms|s|min)\s*:\s*(?P<what>.+)")
SETTING = re.compile(r"(?P<address>[a-z][a-z0-9.-]*)\s*=\s*(?P<value>-?[0-9]{1,9}(\.[0-9]{1,6})?)")
UNITS = {"ms": 0.001, "s": 1.0, "min": 60.0}
FORM = "write `at 5s: hogs=2` or `at 10s: ring-b.rate=50`"


def events(text: str, document: Document, topology: Topology) -> list[Event]:
    """What a line means, one event for each thing it changes. Raises ValueError saying what is allowed."""
    moment = MOMENT.fullmatch(text.strip())
    if moment is None:
        raise ValueError(f"{text!r} is no event; {FORM}")
    at_s = float(moment["count"]) * UNITS[moment["unit"]]
    if at_s >= document.plan.duration:
        raise ValueError(
            f"{moment['count']} {moment['unit']} is not within the measured interval, which has "
            f"{document.plan.duration:g} s (plan.duration)"
        )
    return _setting(text.strip(), at_s, moment["what"].strip(), document, topology)


def _setting(text: str, at_s: float, what: str, document: Document, topology: Topology) -> list[Event]:
    setting = SETTING.fullmatch(what)
    if setting is None:
        raise ValueError(f"{what!r} is nothing that can happen; {FORM}")
    number = float(setting["value"])
    value = int(number) if number.is_integer() else number
    found = []
    for knob in knobs(setting["address"], document, topology):
        if (knob.section, knob.field) not in (("hosts", "hogs"), ("networks", "rate")):
            raise ValueError(
                f"{setting['address']!r} cannot change during a trial; hogs and the rates of networks can"
            )
        try:
            vary(document, knob, value)
        except ValueError as error:
            raise ValueError(f"{setting['address']}: {error}, not {value}") from None
        found.append(Event(at_s, text, knob.field, knob.name, value))
    return found
