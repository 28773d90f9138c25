"""A document made into trials: every combination of its factors as a case, or what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from orchestrator.experiments.case import Case
from orchestrator.experiments.definitions import Level
from orchestrator.experiments.own.addresses import Knob, knobs, under_test, vary
from orchestrator.experiments.own.cases import Cases
from orchestrator.experiments.own.document import MAX_COMBINATIONS, Document, Source
from orchestrator.experiments.own.faults import DocumentError, Fault, brief
from orchestrator.experiments.own.moments import events
from orchestrator.experiments.own.route import Route, route
from orchestrator.experiments.timeline import Event
from topologies import Topology

Levels = Mapping[str, Level]


@dataclass(frozen=True)
class Combination:
    """One row of the table: what is done in its trials, with a system and the levels of other factors."""

    number: int
    system: str
    factors: Levels
    case: Case


@dataclass(frozen=True)
class Own:
    """An experiment that a user wrote. In `groups` are the combinations that are measured side by side;
    `systems` is the factor that varies the system under test, if one does."""

    document: Document
    topology: Topology
    route: Route
    systems: str | None
    combinations: list[Combination]
    groups: list[list[Combination]]

    @property
    def hosts(self) -> list[str]:
        """The hosts of its workloads, in the order of the data."""
        return [self.document.workloads[name].host for name in self.route.workloads]

    @property
    def ports(self) -> list[int]:
        """Where each of them but the first listens."""
        received = [self.document.workloads[name] for name in self.route.workloads[1:]]
        return [one.port for one in received if not isinstance(one, Source)]


def build(document: Document, topology: Topology) -> Own:
    """Checks a document against its topology and makes its trials. Raises DocumentError."""
    way = route(document, topology)
    named = _addresses(document, topology)
    happening = _events(document, topology)
    faults = [*_settings(document, named, happening)]
    if faults:
        raise DocumentError(faults)
    tested = set(knobs("system", document, topology))
    systems = next((address for address, varied in named.items() if set(varied) == tested), None)
    combinations = list(_combinations(document, named, Cases(topology, way, happening), systems))
    together: dict[tuple[object, ...], list[Combination]] = {}
    for one in combinations:
        together.setdefault(_apart(one, document.plan.alternate, systems), []).append(one)
    return Own(document, topology, way, systems, combinations, list(together.values()))


def factors_of(document: Document) -> list[str]:
    """The factors' addresses, as written."""
    written = document.factors
    return list(written if isinstance(written, dict) else dict.fromkeys(a for one in written for a in one))


def _apart(one: Combination, alternate: str, systems: str | None) -> tuple[object, ...]:
    """What combinations that are measured side by side have in common."""
    others = tuple((name, level) for name, level in one.factors.items() if name != alternate)
    return others if alternate in ("system", systems) else (one.system, *others)


def _addresses(document: Document, topology: Topology) -> dict[str, list[Knob]]:
    """What each factor varies. Raises DocumentError."""
    found: dict[str, list[Knob]] = {}
    faults: list[Fault] = []
    for address in factors_of(document):
        place = f"factors.{address}"
        try:
            found[address] = knobs(address, document, topology)
        except ValueError as error:
            faults.append((place, str(error)))
            continue
        for other, theirs in found.items():
            if other != address and set(theirs) & set(found[address]):
                faults.append((place, f"varies the same as the factor {other!r}"))
    if faults:
        raise DocumentError(faults)
    return found


def _events(document: Document, topology: Topology) -> tuple[Event, ...]:
    found: list[Event] = []
    faults: list[Fault] = []
    for number, text in enumerate(document.events):
        try:
            found += events(text, document, topology)
        except ValueError as error:
            faults.append((f"events.{number}", str(error)))
    if faults:
        raise DocumentError(faults)
    return tuple(sorted(found, key=lambda event: event.at_s))


def _settings(
    document: Document, named: Mapping[str, list[Knob]], happening: Sequence[Event]
) -> Iterator[Fault]:
    """What does not go together in the rest of the document."""
    factors = ", ".join(named) or "none"
    alternate = document.plan.alternate
    if alternate != "system" and alternate not in named:
        yield "plan.alternate", f"must be a factor ({factors}), not {alternate!r}"
    for field, given in (("x", document.figure.x), ("lines", document.figure.lines)):
        if given is not None and given not in named:
            yield f"figure.{field}", f"must be a factor ({factors}), not {given!r}"
    if document.figure.x is not None and document.figure.x == document.figure.lines:
        yield "figure.lines", f"must be another factor than figure.x, not {document.figure.lines!r}"
    if document.figure.y is not None and document.figure.y not in document.measures:
        yield "figure.y", f"must be one of the measures ({', '.join(document.measures)})"
    if document.search is None:
        return
    if any(knob.section == "workloads" and knob.field == "rate" for one in named.values() for knob in one):
        yield "factors", "the rate of the source cannot be a factor where `search` looks for it"
    if any(event.what == "pace" for event in happening):
        yield "events", "the rate of the source cannot change where `search` looks for it"
    if document.measures != ["throughput"]:
        yield "measures", "a search has one: the highest rate; leave `measures` out"
    if document.plan.until is not None:
        yield "plan.until", "a search has `plan.trials` rounds; leave `until` out"
    if not document.search.least <= document.search.start <= document.search.most:
        yield "search.start", "must be from search.least to search.most"


def _combinations(
    document: Document, named: Mapping[str, list[Knob]], cases: Cases, systems: str | None
) -> Iterator[Combination]:
    seen = set()
    for number, (levels, places) in enumerate(_levels(document, named)):
        key = tuple(sorted(levels.items()))
        if key in seen:
            raise DocumentError([("factors", f"the combination {brief(levels)} is there twice")])
        seen.add(key)
        varied = document
        for address, level in levels.items():
            for knob in named[address]:
                try:
                    varied = vary(varied, knob, level)
                except ValueError as error:
                    raise DocumentError([(places[address], f"{error}, not {brief(level)}")]) from None
        yield Combination(
            number,
            "+".join(dict.fromkeys(varied.workloads[name].system for name in under_test(document))),
            {name: level for name, level in levels.items() if name != systems},
            cases.of(varied),
        )


def _levels(
    document: Document, named: Mapping[str, list[Knob]]
) -> Iterator[tuple[dict[str, Level], dict[str, str]]]:
    """Every combination, with the place of each level. Raises DocumentError."""
    written = document.factors
    if isinstance(written, list):
        for number, one in enumerate(written):
            if missing := [address for address in named if address not in one]:
                raise DocumentError([(f"factors.{number}", f"has no level of {', '.join(missing)}")])
            yield dict(one), {address: f"factors.{number}.{address}" for address in one}
        return
    count = 1
    for levels in written.values():
        count *= len(levels)
    if count > MAX_COMBINATIONS:
        raise DocumentError([("factors", f"make {count} combinations; at most {MAX_COMBINATIONS} are run")])
    for chosen in product(*(list(enumerate(levels)) for levels in written.values())):
        yield (
            {address: level for address, (_, level) in zip(written, chosen, strict=True)},
            {address: f"factors.{address}.{at}" for address, (at, _) in zip(written, chosen, strict=True)},
        )
