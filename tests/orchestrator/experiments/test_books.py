"""The books name what is missing, or say that they cannot."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.experiments.books import Arrived, Books, Passage, balance


@dataclass
class Journey:
    """Datagrams on their way, and what each place counts. Without faults everything arrives."""

    sent: int
    dropped_in: set[int] = field(default_factory=set)
    dropped_by_forwarder: set[int] = field(default_factory=set)
    dropped_out: set[int] = field(default_factory=set)
    vanished_in: set[int] = field(default_factory=set)
    vanished_out: set[int] = field(default_factory=set)
    doubled_in: set[int] = field(default_factory=set)
    doubled_out: set[int] = field(default_factory=set)

    def books(self) -> Books:
        at_middle = self._cross(range(self.sent), self.dropped_in | self.vanished_in, self.doubled_in)
        named_in = len(self.dropped_in)
        written = [n for n in at_middle if n not in self.dropped_by_forwarder]
        at_sink = self._cross(written, self.dropped_out | self.vanished_out, self.doubled_out)
        named_out = sum(n in self.dropped_out for n in written)
        return balance(
            [
                Passage("source -> ring-a -> middle", self.sent, len(at_middle), {"socket buffer": named_in}),
                Passage("forwarder", len(at_middle), len(written), {"own": len(at_middle) - len(written)}),
                Passage("middle -> ring-b -> sink", len(written), len(at_sink), {"qdisc": named_out}),
            ],
            arrived(at_sink),
        )

    @staticmethod
    def _cross(numbers: range | list[int], gone: set[int], doubled: set[int]) -> list[int]:
        return [n for n in numbers if n not in gone for _ in range(2 if n in doubled else 1)]


def arrived(numbers: list[int]) -> Arrived:
    """What a sink that got these sequence numbers in this order says."""
    seen: set[int] = set()
    again, reordered, highest = [], 0, -1
    for number in numbers:
        if number in seen:
            again.append(number)
            continue
        seen.add(number)
        reordered += number < highest
        highest = max(highest, number)
    missing = [n for n in range(highest + 1) if n not in seen]
    ranges: list[list[int]] = []
    for number in missing:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return Arrived(len(numbers), len(seen), len(again), reordered, highest + 1, ranges, again)


def numbers_of(books: Books) -> set[int]:
    return {n for first, last in books.lost_ranges for n in range(first, last + 1)}


SENT = 300
some = st.sets(st.integers(0, SENT - 1), max_size=20)


@given(some, some, some, some)
def test_named_drops_and_duplicates_balance(a: set[int], b: set[int], c: set[int], twice: set[int]) -> None:
    """A datagram that was doubled is dropped in both copies or in none, where the drop is of a number."""
    journey = Journey(SENT, a, b - a - twice, c - a - b - twice, doubled_out=twice - a - b - c)
    books = journey.books()
    assert books.balanced, books.problems
    assert books.sent + books.duplicated == books.received + sum(books.drops.values())
    assert numbers_of(books) == journey.dropped_in | journey.dropped_by_forwarder | journey.dropped_out
    assert set(books.duplicate_list) == journey.doubled_out


@given(some.filter(bool), some, some)
def test_datagrams_that_vanish_on_ring_b_are_named_exactly(
    gone: set[int], named: set[int], twice: set[int]
) -> None:
    books = Journey(
        SENT, dropped_in=named - gone, vanished_out=gone, doubled_out=twice - gone - named
    ).books()
    assert not books.balanced
    assert [(s.name, s.difference) for s in books.segments if s.difference] == [
        ("middle -> ring-b -> sink", len(gone))
    ]
    assert numbers_of(books) == gone | named


@given(some.filter(bool), some)
def test_datagrams_that_vanish_on_ring_a_are_placed_there(gone: set[int], named: set[int]) -> None:
    books = Journey(SENT, vanished_in=gone, dropped_out=named - gone).books()
    assert [s.name for s in books.segments if s.difference] == ["source -> ring-a -> middle"]
    assert books.difference == len(gone)


@given(some.filter(bool))
def test_duplicates_are_placed_where_more_came_out_than_went_in(twice: set[int]) -> None:
    books = Journey(SENT, doubled_in=twice).books()
    assert books.balanced
    assert [s.duplicated for s in books.segments] == [len(twice), 0, 0]


@given(some, some, some, some)
def test_nothing_unnamed_is_ever_balanced(
    gone_a: set[int], gone_b: set[int], drops: set[int], twice: set[int]
) -> None:
    """Whatever else happens: as long as a datagram vanished, the books do not balance."""
    journey = Journey(
        SENT,
        dropped_in=drops,
        vanished_in=gone_a - drops,
        vanished_out=gone_b - drops - gone_a,
        doubled_out=twice,
    )
    assert journey.books().balanced == (not journey.vanished_in and not journey.vanished_out)


@pytest.mark.parametrize(
    ("gone", "text"),
    [
        ({50}, "sequence numbers that never arrived: 50"),
        (set(range(40, 47)), "sequence numbers that never arrived: 40-46"),
        (set(range(SENT - 100, SENT)), f"sequence numbers that never arrived: {SENT - 100}-{SENT - 1}"),
    ],
)
def test_the_planted_fault_is_told_in_words(gone: set[int], text: str) -> None:
    books = Journey(SENT, vanished_out=gone, doubled_out={3, 4, 5}).books()
    told = "; ".join(books.problems)
    assert text in told
    assert f"middle -> ring-b -> sink: {len(gone)} datagrams vanished without a name" in told
    assert "arrived again: 3 datagrams (sequence numbers 3, 4, 5)" in told


def test_nothing_arrived_at_all() -> None:
    books = Journey(5, vanished_in=set(range(5))).books()
    assert books.lost_ranges == [(0, 4)] and books.lost == 5 and not books.balanced


def test_reordering_is_no_loss() -> None:
    order = [0, 2, 1, 3]
    books = balance([Passage("a", 4, 4, {}), Passage("b", 4, 4, {})], arrived(order))
    assert books.balanced and books.reordered == 1 and books.lost == 0


def test_a_sink_that_contradicts_itself_is_found() -> None:
    wrong = Arrived(10, 8, 1, 0, 10, [[3, 3]])
    books = balance([Passage("a", 10, 10, {})], wrong)
    assert any("8 different + 1 duplicate" in problem for problem in books.problems)
