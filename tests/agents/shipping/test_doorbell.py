"""Every interleaving of the sleep and doorbell hand-off of core/ring.h: no wake-up is lost.

The two sides are state machines over the shared words `produced`, `waiting` and the doorbell (an eventfd).
A store goes into the writing side's store buffer and reaches memory at any later moment, in order (x86-TSO;
the model of Owens, Sarkar and Sewell, 2009). A fence waits until the buffer is empty, as does a
read-modify-write. All states that can be reached are visited; one in which nothing can happen any more must
have consumed everything.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest

ITEMS = 3

# Program counters, named for what is done next.
SUBMIT, PRODUCER_FENCE, LOOK_WAITING, EXCHANGE, RING, PRODUCER_DONE = range(6)
READY, WAIT, CONSUMER_FENCE, RECHECK, SLEEP, AWAKE, CONSUMER_DONE = range(7)

Store = tuple[str, int]


class State(NamedTuple):
    producer: int = SUBMIT
    submitted: int = 0
    producer_stores: tuple[Store, ...] = ()
    consumer: int = READY
    consumed: int = 0
    consumer_stores: tuple[Store, ...] = ()
    produced: int = 0
    waiting: int = 0
    doorbell: bool = False


def seen(state: State, stores: tuple[Store, ...], name: str) -> int:
    """What the side with these stores of its own reads: its latest store, else memory."""
    for word, value in reversed(stores):
        if word == name:
            return value
    return int(getattr(state, name))


def write(state: State, store: Store) -> State:
    word, value = store
    return state._replace(produced=value) if word == "produced" else state._replace(waiting=value)


def flushes(state: State) -> Iterator[State]:
    if state.producer_stores:
        oldest, *rest = state.producer_stores
        yield write(state, oldest)._replace(producer_stores=tuple(rest))
    if state.consumer_stores:
        oldest, *rest = state.consumer_stores
        yield write(state, oldest)._replace(consumer_stores=tuple(rest))


def producer(state: State, fenced: bool) -> Iterator[State]:
    """cs_ring_submit, then cs_ring_needs_doorbell, then the eventfd; once for each item."""
    following = PRODUCER_DONE if state.submitted == ITEMS else SUBMIT
    match state.producer:
        case 0:  # SUBMIT
            count = state.submitted + 1
            stores = (*state.producer_stores, ("produced", count))
            yield state._replace(producer=PRODUCER_FENCE, submitted=count, producer_stores=stores)
        case 1:  # PRODUCER_FENCE
            if not (fenced and state.producer_stores):
                yield state._replace(producer=LOOK_WAITING)
        case 2:  # LOOK_WAITING
            waits = seen(state, state.producer_stores, "waiting")
            yield state._replace(producer=EXCHANGE if waits else following)
        case 3:  # EXCHANGE
            if not state.producer_stores:
                yield state._replace(producer=RING if state.waiting else following, waiting=0)
        case 4:  # RING
            yield state._replace(producer=following, doorbell=True)


def consumer(state: State, fenced: bool) -> Iterator[State]:
    """cs_ring_ready; if nothing: cs_ring_wait, look again, sleep; cs_ring_awake."""
    produced = seen(state, state.consumer_stores, "produced")
    match state.consumer:
        case 0:  # READY
            if state.consumed == ITEMS:
                yield state._replace(consumer=CONSUMER_DONE)
            elif produced > state.consumed:
                yield state._replace(consumed=produced)
            else:
                yield state._replace(consumer=WAIT)
        case 1:  # WAIT
            stores = (*state.consumer_stores, ("waiting", 1))
            yield state._replace(consumer=CONSUMER_FENCE, consumer_stores=stores)
        case 2:  # CONSUMER_FENCE
            if not (fenced and state.consumer_stores):
                yield state._replace(consumer=RECHECK)
        case 3:  # RECHECK
            yield state._replace(consumer=SLEEP if produced == state.consumed else AWAKE)
        case 4:  # SLEEP
            if state.doorbell:
                yield state._replace(consumer=AWAKE, doorbell=False)
        case 5:  # AWAKE
            stores = (*state.consumer_stores, ("waiting", 0))
            yield state._replace(consumer=READY, consumer_stores=stores)


def explore(producer_fence: bool = True, consumer_fence: bool = True) -> tuple[int, list[State]]:
    """How many states can be reached, and those where the consumer sleeps for ever beside its work."""
    reached, open_states, lost = {State()}, [State()], []
    while open_states:
        state = open_states.pop()
        following = [
            *producer(state, producer_fence),
            *consumer(state, consumer_fence),
            *flushes(state),
        ]
        if not following and state.consumed < ITEMS:
            lost.append(state)
        for one in following:
            if one not in reached:
                reached.add(one)
                open_states.append(one)
    return len(reached), lost


def test_no_interleaving_loses_a_wakeup() -> None:
    states, lost = explore()
    assert states > 500  # the model does have interleavings
    assert lost == []


@pytest.mark.parametrize("missing", ["producer_fence", "consumer_fence"])
def test_without_either_fence_a_wakeup_is_lost(missing: str) -> None:
    _, lost = explore(**{missing: False})
    assert lost
    assert all(state.consumer == SLEEP and state.produced > state.consumed for state in lost)
