"""Events as users write them: `at 5s: hogs=2`, `at 10s: cut ring-b`."""

from __future__ import annotations

import re

from orchestrator.experiments.own.addresses import knobs, vary
from orchestrator.experiments.own.document import Document
from orchestrator.experiments.timeline import Event, What
from topologies import Topology
from topologies.wiring import attachments, networks_of

MOMENT = re.compile(r"at\s+(?P<count>[0-9]{1,6}(\.[0-9]{1,6})?)\s*(?P<unit>ms|s|min)\s*:\s*(?P<what>.+)")
SETTING = re.compile(r"(?P<address>[a-z][a-z0-9.-]*)\s*=\s*(?P<value>-?[0-9]{1,9}(\.[0-9]{1,6})?)")
UNITS = {"ms": 0.001, "s": 1.0, "min": 60.0}
BREAKING = re.compile(r"(?P<what>cut|heal)\s+((?P<host>[a-z][a-z0-9-]*)\.)?(?P<network>[a-z][a-z0-9-]*)")
FORM = "write `at 5s: hogs=2`, `at 5s: rate=50` or `at 10s: cut ring-b`"
CHANGING: dict[tuple[str, str], What] = {
    ("hosts", "hogs"): "hogs",
    ("networks", "rate"): "rate",
    ("networks", "loss"): "loss",
    ("workloads", "rate"): "pace",
}


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
    what = moment["what"].strip()
    if breaking := BREAKING.fullmatch(what):
        return [_breaking(text.strip(), at_s, breaking, topology)]
    return _setting(text.strip(), at_s, what, document, topology)


def _breaking(text: str, at_s: float, said: re.Match[str], topology: Topology) -> Event:
    network, host = said["network"], said["host"]
    what: What = "cut" if said["what"] == "cut" else "heal"
    if network not in networks_of(topology):
        known = ", ".join(networks_of(topology))
        raise ValueError(f"there is no network {network!r} in topology {topology.name}; it has {known}")
    stations = [one.host for one in attachments(topology) if one.network == network]
    if host is not None and host not in stations:
        raise ValueError(f"{host!r} is not on network {network!r}; {', '.join(stations)} are")
    return Event(at_s, text, what, network, host=host)


def _setting(text: str, at_s: float, what: str, document: Document, topology: Topology) -> list[Event]:
    setting = SETTING.fullmatch(what)
    if setting is None:
        raise ValueError(f"{what!r} is nothing that can happen; {FORM}")
    number = float(setting["value"])
    value = int(number) if number.is_integer() else number
    found = []
    for knob in knobs(setting["address"], document, topology):
        changing = CHANGING.get((knob.section, knob.field))
        if changing is None:
            raise ValueError(
                f"{setting['address']!r} cannot change during a trial; hogs can, the source's rate, "
                "and rate and loss of a network"
            )
        try:
            vary(document, knob, value)
        except ValueError as error:
            raise ValueError(f"{setting['address']}: {error}, not {value}") from None
        found.append(Event(at_s, text, changing, knob.name, value))
    return found
