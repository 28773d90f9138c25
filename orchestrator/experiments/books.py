"""The books of a trial: every datagram that was sent is received, or its loss has a name.

A datagram's way is cut into three segments: over the ring to the middle host's forwarder, through the
forwarder, and over the other ring to the sink. In each, what entered + what was duplicated = what left +
the sum of the drops named there. What does not add up is reported with its place; the trial is then
INVALID.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel

BOOKS_DIFFER = "books differ: "
"""What the reason begins with that makes a trial invalid whose books do not balance."""

Ranges = list[tuple[int, int]]
"""First and last sequence numbers, both included."""
RANGES_KEPT = 1000
"""A sink remembers so many ranges of lost numbers; with fewer than these it knows them all."""


@dataclass(frozen=True)
class Passage:
    """What counted a datagram's way through one segment: its name, both ends, and the named drops
    between."""

    name: str
    entered: int
    left: int
    drops: Mapping[str, int]


@dataclass(frozen=True)
class Arrived:
    """What the sink found out from sequence numbers, which begin with 0.

    `end` is one more than the highest that arrived; `lost_ranges` are below it. `duplicate_list` has the
    number of each datagram that came again.
    """

    received: int
    unique: int
    duplicates: int
    reordered: int
    end: int
    lost_ranges: Sequence[Sequence[int]]
    duplicate_list: Sequence[int] = ()


class SegmentBooks(BaseModel):
    """One segment. `difference` > 0: so many vanished there without a name; < 0: so many appeared."""

    name: str
    entered: int
    duplicated: int
    left: int
    drops: dict[str, int]
    difference: int


class Books(BaseModel):
    """The whole way. `lost` counts sequence numbers that never arrived, `lost_ranges` says which."""

    sent: int
    duplicated: int
    received: int
    reordered: int
    lost: int
    lost_ranges: Ranges
    lost_ranges_complete: bool
    duplicate_list: list[int]
    drops: dict[str, int]
    difference: int
    segments: list[SegmentBooks]
    problems: list[str]

    @property
    def balanced(self) -> bool:
        """sent + duplicated = received + sum of drops, in total and in every segment."""
        return not self.problems


def balance(passages: Sequence[Passage], arrived: Arrived) -> Books:
    """The books of one trial, from its segments in order (the last one ends at the sink)."""
    sent, received = passages[0].entered, passages[-1].left
    segments = _segments(passages, arrived.duplicates)
    drops: dict[str, int] = {}
    for segment in segments:
        for place, count in segment.drops.items():
            drops[place] = drops.get(place, 0) + count
    ranges = _with_tail(arrived.lost_ranges, arrived.end, sent)
    lost = sent - arrived.unique
    complete = sum(b - a + 1 for a, b in ranges) == lost
    problems = [_problem(segment) for segment in segments if segment.difference]
    if problems and lost > 0:
        problems.append(f"sequence numbers that never arrived: {describe(ranges)}")
    if arrived.duplicates and problems:
        again = describe([(number, number) for number in arrived.duplicate_list])
        problems.append(f"arrived again: {arrived.duplicates} datagrams (sequence numbers {again})")
    problems += _sink_problems(arrived, received, lost, ranges)
    return Books(
        sent=sent,
        duplicated=arrived.duplicates,
        received=received,
        reordered=arrived.reordered,
        lost=lost,
        lost_ranges=ranges,
        lost_ranges_complete=complete,
        duplicate_list=list(arrived.duplicate_list),
        drops=drops,
        difference=sent + arrived.duplicates - received - sum(drops.values()),
        segments=segments,
        problems=problems,
    )


def _segments(passages: Sequence[Passage], duplicates: int) -> list[SegmentBooks]:
    """Balances each segment. Only the sink sees duplicates: they belong where more came out than went in,
    and
    those hidden by a loss go to the segment that is furthest off (the last of equals)."""
    excess = [p.left + sum(p.drops.values()) - p.entered for p in passages]
    given = [0] * len(passages)
    rest = duplicates
    for i, more in enumerate(excess):
        given[i] = min(max(more, 0), rest)
        rest -= given[i]
    if rest:
        worst = max(range(len(passages)), key=lambda i: (given[i] - excess[i], i))
        given[worst] += rest
    return [
        SegmentBooks(
            name=p.name,
            entered=p.entered,
            duplicated=given[i],
            left=p.left,
            drops={place: count for place, count in p.drops.items() if count},
            difference=given[i] - excess[i],
        )
        for i, p in enumerate(passages)
    ]


def _problem(segment: SegmentBooks) -> str:
    what = "vanished without a name" if segment.difference > 0 else "appeared from nowhere"
    named = ", ".join(f"{place} {count}" for place, count in segment.drops.items()) or "none"
    return (
        f"{segment.name}: {abs(segment.difference)} datagrams {what} "
        f"(entered {segment.entered}, duplicated {segment.duplicated}, left {segment.left}, "
        f"named drops: {named})"
    )


def _sink_problems(arrived: Arrived, received: int, lost: int, ranges: Ranges) -> Iterable[str]:
    if arrived.unique + arrived.duplicates != received:
        yield (
            f"sink: {arrived.unique} different + {arrived.duplicates} duplicate datagrams are not "
            f"the {received} it received"
        )
    known = sum(b - a + 1 for a, b in ranges)
    if known > lost or (known < lost and len(arrived.lost_ranges) < RANGES_KEPT):
        yield f"sink: {known} sequence numbers are missing, but by count {lost} datagrams are"


def _with_tail(ranges: Sequence[Sequence[int]], end: int, sent: int) -> Ranges:
    """The sink cannot know of losses above the highest number it saw; the source's count tells."""
    found = [(int(a), int(b)) for a, b in ranges]
    return [*found, (end, sent - 1)] if end < sent else found


def describe(ranges: Ranges, most: int = 8) -> str:
    """Ranges for people: "5, 10-16, ..."."""
    shown = [str(a) if a == b else f"{a}-{b}" for a, b in ranges[:most]]
    return ", ".join(shown) + (f" and {len(ranges) - most} more ranges" if len(ranges) > most else "")
