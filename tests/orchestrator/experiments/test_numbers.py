"""Schedule, search, statistics, throughput and validity."""

from __future__ import annotations

from collections import Counter
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.experiments import validity
from orchestrator.experiments.books import Arrived, Passage, balance
from orchestrator.experiments.definitions import EXPERIMENTS, Definition, Options, Profile
from orchestrator.experiments.measures import loss, throughput_mbps
from orchestrator.experiments.plan import plan_for
from orchestrator.experiments.schedule import TimeLeft, schedule
from orchestrator.experiments.search import RateSearch
from orchestrator.experiments.statistics import median_ci95, paired_ratios
from topologies import resolve, shipped

SYSTEMS = ["linux", "linux-batch", "copy", "shipping"]
GOOD = balance([Passage("a", 10, 10, {})], Arrived(10, 10, 0, 0, 10, []))
SOURCE: dict[str, Any] = {"offered_mbps": 93.0, "busy": 0.3, "late": 0.0}
SINK: dict[str, Any] = {"busy": 0.3}


@given(st.integers(1, 9), st.integers(0, 1000))
def test_in_each_round_and_load_every_system_follows_the_others(rounds: int, seed: int) -> None:
    trials = schedule(SYSTEMS, [0, 1, 2, 3], rounds, seed)
    assert [trial.number for trial in trials] == list(range(16 * rounds))
    for start in range(0, len(trials), 4):
        group = trials[start : start + 4]
        assert {trial.system for trial in group} == set(SYSTEMS)
        assert len({(trial.hogs, trial.round) for trial in group}) == 1


def test_over_four_rounds_every_system_is_first_equally_often() -> None:
    trials = schedule(SYSTEMS, [0], 4, seed=5)
    assert Counter(trial.system for trial in trials[::4]) == dict.fromkeys(SYSTEMS, 1)


def test_the_same_seed_gives_the_same_order() -> None:
    assert schedule(SYSTEMS, [0, 1], 3, 9) == schedule(SYSTEMS, [0, 1], 3, 9)
    assert schedule(SYSTEMS, [0, 1], 3, 9) != schedule(SYSTEMS, [0, 1], 3, 10)


def test_time_left_follows_the_trials_seen() -> None:
    left = TimeLeft(guess_s=5)
    assert left.seconds(10) == 50
    left.took(2.0)
    assert left.seconds(10) == 20


@given(st.floats(10, 8000), st.sampled_from([1.25, 2.0]), st.floats(10, 8000))
def test_a_search_ends_within_its_resolution_below_the_truth(
    truth: float, factor: float, start: float
) -> None:
    search = RateSearch(start, most=9000, resolution=0.025, factor=factor)
    steps = 0
    while not search.done:
        assert search.steps_left > 0
        rate = search.rate
        search.tell(rate, rate <= truth)
        steps += 1
        assert steps < 60
    assert truth / 1.0251 <= search.best <= truth


def test_a_search_that_never_fails_ends_at_the_most() -> None:
    search = RateSearch(500, most=2000, resolution=0.025)
    while not search.done:
        search.tell(search.rate, True)
    assert search.best == 2000


def test_an_interval_holds_the_median_and_is_the_same_for_the_same_seed() -> None:
    values = [50.1, 49.0, 52.2, 48.7, 50.9, 51.3, 47.9]
    median, (low, high) = median_ci95(values, seed=1)
    assert median == 50.1 and 47.9 <= low < median < high <= 52.2
    assert median_ci95(values, seed=1) == (median, [low, high])


def test_one_value_has_no_spread_to_show() -> None:
    assert median_ci95([7.0], seed=1) == (7.0, [7.0, 7.0])


def test_ratios_pair_the_rounds_that_both_have() -> None:
    assert paired_ratios({0: 10, 1: 30, 2: 9}, {0: 5, 2: 3, 3: 4}) == [2, 3]
    assert paired_ratios({0: 10}, {0: 0}) == []


def results(
    sent: int, got: int, bins: list[int], bin0_ms: int = 1000
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of a source that measures from 1.0 to 2.0 s, and of a sink with bins of 10 ms from `bin0_ms` on."""
    source = {"sent_measured": sent, "t0_ns": 10**9, "t1_ns": 2 * 10**9}
    sink = {"unique_measured": got, "bin0_ns": bin0_ms * 10**6, "bin_ns": 10**7, "bin": bins}
    return source, sink


def test_what_arrives_as_fast_as_it_is_sent_counts_in_full() -> None:
    source, sink = results(1000, 1000, [10] * 100)
    assert throughput_mbps(source, sink, 1250) == pytest.approx(10)
    assert loss(source, sink) == 0


def test_what_arrives_outside_the_interval_is_not_throughput() -> None:
    """Half a second of warm-up before, and a queue that empties in the second after."""
    source, sink = results(1000, 1000, [10] * 50 + [5] * 100 + [5] * 100, bin0_ms=500)
    assert throughput_mbps(source, sink, 1250) == pytest.approx(5)
    assert loss(source, sink) == 0


def test_of_the_bins_at_both_ends_the_part_inside_counts() -> None:
    source, sink = results(1000, 1000, [10] * 101, bin0_ms=996)
    assert throughput_mbps(source, sink, 1250) == pytest.approx(10)
    source, sink = results(1000, 1000, [100], bin0_ms=996)
    assert throughput_mbps(source, sink, 1250) == pytest.approx(0.6)


def test_nothing_received_is_no_throughput() -> None:
    source, sink = results(10, 0, [], bin0_ms=0)
    assert throughput_mbps(source, sink, 1250) == 0 and loss(source, sink) == 1


def test_a_good_trial_is_valid() -> None:
    assert validity.reasons(GOOD, 93, SOURCE, SINK, 0) == []


@pytest.mark.parametrize(
    ("source", "sink", "drops", "text"),
    [
        ({"offered_mbps": 91.9}, {}, 0, "offered load missed: 91.9 Mb/s instead of 93.0"),
        ({"busy": 0.99}, {}, 0, "the source was the bottleneck: busy 99%"),
        ({"late": 0.5}, {}, 0, "the source was the bottleneck: 50% of its sends were late"),
        ({}, {"busy": 1.0}, 0, "the sink was the bottleneck: busy 100%"),
        ({}, {}, 3, "its queue refused 3 datagrams"),
    ],
)
def test_a_trial_that_says_nothing_about_the_system_is_invalid(
    source: dict[str, Any], sink: dict[str, Any], drops: int, text: str
) -> None:
    found = validity.reasons(GOOD, 93, SOURCE | source, SINK | sink, drops)
    assert len(found) == 1 and text in found[0]


def test_every_shipped_experiment_loads() -> None:
    assert "fddi" in EXPERIMENTS
    assert all(name == definition.name for name, definition in EXPERIMENTS.items())


def test_each_profile_has_a_topology_that_ships() -> None:
    for definition in EXPERIMENTS.values():
        assert {definition.topology_for(profile) for profile in get_args(Profile)} <= set(shipped())
    media = {
        profile: {network.medium for network in resolve(name).networks.values()}
        for profile, name in EXPERIMENTS["fddi"].topologies.items()
    }
    assert media == {"period": {"shared"}, "scaled": {"switched"}, "modern": {"switched"}}


def test_the_papers_values_are_as_published() -> None:
    fddi = EXPERIMENTS["fddi"]
    assert [fddi.published_mbps("linux", hogs) for hogs in range(4)] == [None, 50.0, 33.3, 25.0]
    assert [fddi.published_mbps("shipping", hogs) for hogs in range(4)] == [93, 65.0, 43.3, 32.5]
    assert fddi.published_mbps("copy", 1) is None
    assert fddi.published_ratio("shipping", "linux", 0) is None


@pytest.mark.parametrize(
    "change",
    [
        {"unknown": 1},
        {"offered_mbps": -1},
        {"hogs": [1, 1]},
        {"systems": ["linux"]},
        {"ratios": [["copy", "linux"]]},
        {"topologies": {"period": "two-fddi"}},
    ],
)
def test_a_definition_that_makes_no_sense_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Definition.model_validate(EXPERIMENTS["fddi"].model_dump() | change)


def test_queues_hold_what_comes_while_the_cpu_is_away() -> None:
    plan = plan_for(Options())
    assert plan.budgeted_queue(10, 4300) == plan.queue_min
    assert plan.budgeted_queue(93, 4300) >= plan.cpu_period_us / 1e6 * 93e6 / 8 / 4300
    assert plan.loaded_queue(3000, 4300, hogs=3) >= 3 * plan.turn_us / 1e6 * 3e9 / 8 / 4300


def test_quick_is_one_trial_unless_told_otherwise() -> None:
    assert plan_for(Options(quick=True)).trials == 1
    assert plan_for(Options(quick=True, trials=3)).trials == 3
    assert plan_for(Options()).trials == 7
