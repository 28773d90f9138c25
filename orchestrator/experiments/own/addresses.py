"""What a factor or an event speaks of: `hogs`, `relay.system`, `ring-b.rate`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from orchestrator.experiments.own.document import Document, Forwarder, Host, Network, Sink, Source
from topologies import Topology
from topologies.loader import in_words
from topologies.wiring import networks_of

Section = Literal["workloads", "hosts", "networks"]
VARIED: dict[str, tuple[str, ...]] = {
    "source": ("system", "rate", "size"),
    "forwarder": ("system", "queue"),
    "sink": ("system", "queue"),
}
HOST, NETWORK = ("hogs", "cpu"), ("rate", "loss")
SHORT = ("system", "hogs", "cpu", "rate", "size", "queue")


@dataclass(frozen=True)
class Knob:
    """One field of a document that can be varied."""

    section: Section
    name: str
    field: str


def knobs(address: str, document: Document, topology: Topology) -> list[Knob]:
    """What an address means. Raises ValueError saying what is allowed."""
    if address in SHORT:
        return _short(address, document)
    name, _, field = address.rpartition(".")
    found = [knob for knob in _named(name, document, topology) if knob.field == field]
    if len(found) == 1:
        return found
    if found:
        raise ValueError(f"{name!r} is both a workload and a network; rename the workload")
    there = [knob.field for knob in _named(name, document, topology)]
    if there:
        raise ValueError(f"{name!r} has no {field!r} to vary; it has {', '.join(there)}")
    names = [*document.workloads, *topology.hosts, *networks_of(topology)]
    raise ValueError(
        f"must be one of {', '.join(SHORT)}, or NAME.FIELD with the name of a workload, host or network "
        f"({', '.join(dict.fromkeys(names))})"
    )


def vary(document: Document, knob: Knob, level: Any) -> Document:
    """The document with one field changed. Raises ValueError for a level that the field cannot have."""
    section = dict(getattr(document, knob.section))
    model: type[Source | Forwarder | Sink | Host | Network]
    if knob.section == "workloads":
        model, now = type(section[knob.name]), section[knob.name].model_dump()
    else:
        model = Host if knob.section == "hosts" else Network
        now = section[knob.name].model_dump() if knob.name in section else {}
    try:
        section[knob.name] = model.model_validate(now | {knob.field: level})
    except ValidationError as error:
        message = in_words(error.errors(include_url=False)[0]["msg"]).removeprefix("Value error, ")
        raise ValueError(message) from None
    return document.model_copy(update={knob.section: section})


def under_test(document: Document) -> list[str]:
    """The workloads whose system is what is looked at: the forwarders, without any the two ends."""
    forwarders = [name for name, one in document.workloads.items() if isinstance(one, Forwarder)]
    return forwarders or list(document.workloads)


def _short(address: str, document: Document) -> list[Knob]:
    workloads = document.workloads
    if address in ("rate", "size"):
        return [
            Knob("workloads", name, address) for name, one in workloads.items() if isinstance(one, Source)
        ]
    looked_at = under_test(document)
    if address == "system":
        return [Knob("workloads", name, address) for name in looked_at]
    receiving = [name for name in looked_at if not isinstance(workloads[name], Source)]
    if address == "queue":
        return [Knob("workloads", name, address) for name in receiving]
    return [Knob("hosts", workloads[name].host, address) for name in receiving]


def _named(name: str, document: Document, topology: Topology) -> Iterator[Knob]:
    if name in document.workloads:
        for field in VARIED[document.workloads[name].workload]:
            yield Knob("workloads", name, field)
    if name in topology.hosts:
        yield from (Knob("hosts", name, field) for field in HOST)
    if name in networks_of(topology):
        yield from (Knob("networks", name, field) for field in NETWORK)
