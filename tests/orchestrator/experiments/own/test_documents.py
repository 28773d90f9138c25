"""What a user may write, what it means, and what they are told when it is wrong."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from agents.errors import Problem
from orchestrator.engine import LocalEngine
from orchestrator.experiments.definitions import Options
from orchestrator.experiments.own import SCHEMA_FILE
from orchestrator.experiments.own.plan import estimate, own_plan
from orchestrator.experiments.own.schema import schema_text
from orchestrator.experiments.way import Crossing
from tests.orchestrator.experiments.own.examples import TWO_FDDI, changed, examples, own
from topologies.yaml_text import parse

TRUNK = {
    "name": "trunk",
    "hosts": {"a": {}, "b": {}},
    "networks": {"left": {"stations": ["a"]}, "mid": {}, "right": {"stations": ["b"]}, "off": {}},
    "links": [{"ends": ["left", "mid"]}, {"ends": ["mid", "right"]}, {"ends": ["mid", "off"]}],
}
ENDS: dict[str, Any] = {
    "from": {"workload": "source", "host": "a", "to": "into", "rate": 10.0, "size": 1000},
    "into": {"workload": "sink", "host": "b"},
}
TWICE = {
    "name": "twice",
    "hosts": {"a": {}, "b": {}},
    "networks": {"one": {"stations": ["a", "b"]}, "two": {"stations": ["a", "b"]}},
}


def test_the_published_schema_is_not_stale() -> None:
    assert SCHEMA_FILE.read_text() == schema_text(), "run: python -m orchestrator.experiments.own.schema"


def test_the_schema_takes_what_is_right_and_refuses_what_is_not() -> None:
    schema = json.loads(SCHEMA_FILE.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    for document in (TWO_FDDI, *examples().values()):
        jsonschema.validate(document, schema)
    for place, value in (("speed", 1), ("workloads/relay/host", 3), ("plan/trials", 0), ("factors", [])):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(changed((place, value)), schema)


def test_factors_make_every_combination_and_systems_are_side_by_side() -> None:
    made = own(changed(("factors/size", [1000, 4300])))
    assert len(made.combinations) == 8
    assert [len(group) for group in made.groups] == [2, 2, 2, 2]
    for group in made.groups:
        assert [one.system for one in group] == ["linux", "shipping"]
        assert len({tuple(one.factors.items()) for one in group}) == 1
    last = made.combinations[-1]
    assert last.factors == {"hogs": 1, "size": 4300}
    assert [station.system for station in last.case.stations] == ["linux-batch", "shipping", "linux-batch"]
    assert (last.case.size, last.case.rate_mbps, last.case.hogs) == (4300, 60.0, {"middle": 1})
    assert last.case.rates == {"ring-a": 100.0, "ring-b": 100.0}


def test_a_list_of_combinations_is_those_and_no_others() -> None:
    listed = [{"relay.system": "linux", "ring-b.rate": 50}, {"relay.system": "copy", "ring-b.rate": 80.5}]
    made = own(changed(("factors", listed)))
    assert [(one.system, one.factors) for one in made.combinations] == [
        ("linux", {"ring-b.rate": 50}),
        ("copy", {"ring-b.rate": 80.5}),
    ]
    assert [one.case.rates["ring-b"] for one in made.combinations] == [50, 80.5]


def test_what_alternates_is_a_factor_of_ones_choice() -> None:
    made = own(changed(("plan/alternate", "hogs")))
    assert [[one.factors["hogs"] for one in group] for group in made.groups] == [[0, 1], [0, 1]]


def test_the_ends_are_looked_at_where_nothing_forwards() -> None:
    made = own({"name": "ends", "topology": TRUNK, "workloads": ENDS, "factors": {"system": ["linux"]}})
    assert [station.system for station in made.combinations[0].case.stations] == ["linux", "linux"]


def test_a_way_over_trunks_crosses_the_networks_between_and_no_others() -> None:
    made = own({"name": "ends", "topology": TRUNK, "workloads": ENDS})
    assert made.route.crossings == (Crossing("left", "right", ("left", "mid", "right")),)


def test_where_two_hosts_share_several_networks_one_is_named() -> None:
    source = {**ENDS["from"], "via": "two"}
    made = own({"name": "ends", "topology": TWICE, "workloads": {**ENDS, "from": source}})
    assert made.route.crossings == (Crossing.of("two"),)


def test_a_host_may_have_hogs_and_a_budget_without_a_workload() -> None:
    made = own(changed(("hosts", {"sink": {"hogs": 2}}), ("factors", {"cpu": [0.05, 0.5]})))
    assert [one.case.budgets["middle"].quota_us for one in made.combinations] == [5000, 50000]
    assert made.combinations[0].case.hogs == {"sink": 2, "middle": 0}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("at 0.2s: hogs=2", [(0.2, "hogs", "middle", 2)]),
        ("at 200 ms : source.hogs = 1", [(0.2, "hogs", "source", 1)]),
        ("at 0s: ring-b.rate=50.5", [(0.0, "rate", "ring-b", 50.5)]),
        ("at 0s: rate=30", [(0.0, "pace", "from", 30)]),
        ("at 0s: ring-a.loss=0.25", [(0.0, "loss", "ring-a", 0.25)]),
        ("at 0.3s: cut ring-b", [(0.3, "cut", "ring-b", 0)]),
        ("at 0.4s: heal ring-b", [(0.4, "heal", "ring-b", 0)]),
    ],
)
def test_events_as_they_are_written(text: str, what: list[tuple[Any, ...]]) -> None:
    (case, *_) = [one.case for one in own(changed(("events", [text]))).combinations]
    assert [(event.at_s, event.what, event.target, event.value) for event in case.events] == what


def test_a_link_of_a_host_is_cut_by_both_names() -> None:
    (event,) = own(changed(("events", ["at 0s: cut sink.ring-b"]))).combinations[0].case.events
    assert (event.what, event.target, event.host) == ("cut", "ring-b", "sink")


def test_the_loss_of_a_network_is_a_factor() -> None:
    made = own(changed(("factors", {"ring-b.loss": [0, 0.1]}), ("networks", {"ring-a": {"loss": 0.5}})))
    losses = [{name: one.loss for name, one in case.case.losses.items()} for case in made.combinations]
    assert losses == [{"ring-a": 0.5, "ring-b": 0.0}, {"ring-a": 0.5, "ring-b": 0.1}]
    assert made.combinations[0].case.rates == {"ring-a": 100.0, "ring-b": 100.0}


def test_an_event_may_be_written_without_quotes_in_yaml() -> None:
    events = parse("events:\n  - at 0.2s: hogs=2\n  - at 0.1s: hogs=1")[0]["events"]
    case = own(changed(("events", events))).combinations[0].case
    assert [(event.at_s, event.value) for event in case.events] == [(0.1, 1), (0.2, 2)]


@pytest.mark.parametrize(
    ("change", "place", "says"),
    [
        (("speed", 1), "speed", "not a field known here"),
        (("name", "Mine"), "name", 'not "Mine"'),
        (("title", "two\nlines"), "title", "pattern"),
        (("title", "\ud800"), "title", "unicode"),
        (("topology", "three-fddi"), "topology", "there is no shipped topology 'three-fddi'"),
        (("topology", {"name": "x"}), "topology.hosts", "is required"),
        (("topology", None), "topology", "is required"),
        (("workloads/relay/host", "nowhere"), "workloads.relay.host", "it has source, middle, sink"),
        (("workloads/relay/host", "sink"), "workloads.into.host", "'relay' already"),
        (("workloads/relay/to", "mars"), "workloads.relay.to", "there are from, relay, into"),
        (("workloads/relay/to", "from"), "workloads.relay.to", "on the way already"),
        (("workloads/relay/system", "dpdk"), "workloads.relay.system", "one of linux, linux-batch, copy"),
        (("workloads/relay/workload", "relay"), "workloads.relay.workload", "one of source, forwarder, sink"),
        (("workloads/relay/speed", 1), "workloads.relay.speed", "not a field known here"),
        (("workloads/relay/via", "ring-a"), "workloads.relay.via", "share no network over 'ring-a'"),
        (("workloads/from/via", "ring-z"), "workloads.from.via", "is not on a network 'ring-z'"),
        (("workloads/from/to", "into"), "workloads.relay", "no datagram comes to it"),
        (("workloads/from/rate", None), "workloads.from.rate", "is required, here, as a factor or by"),
        (("workloads/from/rate", -3.0), "workloads.from.rate", "greater than 0, not -3.0"),
        (("workloads/from/rate", "60"), "workloads.from.rate", 'not "60"'),
        (("workloads/from/size", None), "workloads.from.size", "is required, here or as a factor"),
        (("workloads/from/size", 9000), "workloads.from.size", "at most 4324"),
        (("workloads/more", {"workload": "sink", "host": "x"}), "workloads.more.host", "no host 'x'"),
        (("workloads/into", None), "workloads", "one sink, not 0"),
        (("hosts", {"moon": {}}), "hosts.moon", "it has source, middle, sink"),
        (("networks", {"ring-c": {"rate": 5.0}}), "networks.ring-c", "it has ring-a, ring-b"),
        (("factors", {"sistem": ["linux"]}), "factors.sistem", "must be one of system, hogs, cpu"),
        (("factors", {"relay.rate": [1]}), "factors.relay.rate", "has no 'rate' to vary; it has system"),
        (("factors", {"hogs": []}), "factors.hogs", "at least 1 item"),
        (("factors", {"hogs": [True]}), "factors.hogs.0", "a number or a word, not true"),
        (("factors", {"hogs": [0, 65]}), "factors.hogs.1", "less than or equal to 64, not 65"),
        (("factors", {"system": ["linux", "dpdk"]}), "factors.system.1", "one of linux, linux-batch"),
        (("factors", {"hogs": [1, 1]}), "factors", "there twice"),
        (("factors", {"hogs": [1], "middle.hogs": [2]}), "factors.middle.hogs", "the same as the factor"),
        (("factors", [{"hogs": 1}, {"system": "copy"}]), "factors.0", "has no level of system"),
        (("factors", {f: list(range(1, 65)) for f in ("hogs", "queue")}), "factors", "at most 1000"),
        (("plan/trials", 0), "plan.trials", "not 0"),
        (("plan/duration", float("inf")), "plan.duration", "finite"),
        (("plan/alternate", "size"), "plan.alternate", "must be a factor (system, hogs), not 'size'"),
        (("plan/until", {"width": 0.0}), "plan.until.width", "greater than 0"),
        (("figure", {"x": "size"}), "figure.x", "must be a factor (system, hogs), not 'size'"),
        (("figure", {"x": "hogs", "lines": "hogs"}), "figure.lines", "another factor"),
        (("figure", {"y": "loss"}), "figure.y", "one of the measures (throughput)"),
        (("events", ["in 5s: hogs=2"]), "events.0", "is no event; write `at 5s: hogs=2`"),
        (("events", ["at 0.1s: hogs=two"]), "events.0", "is nothing that can happen"),
        (("events", ["at 5s: hogs=2"]), "events.0", "measured interval, which has 0.5 s"),
        (("events", ["at 0s: hogs=99"]), "events.0", "less than or equal to 64, not 99"),
        (("events", ["at 0s: size=99"]), "events.0", "cannot change during a trial"),
        (("events", ["at 0s: cut ring-z"]), "events.0", "there is no network 'ring-z'"),
        (("events", ["at 0s: cut source.ring-b"]), "events.0", "not on network 'ring-b'; middle, sink are"),
        (("events", ["at 0s: ring-a.loss=2"]), "events.0", "less than or equal to 1, not 2"),
        (("events", ["at 0s: ring-z.rate=9"]), "events.0", "name of a workload, host or network"),
        (("search", {"least": 50.0, "start": 9.0}), "search.start", "from search.least to search.most"),
    ],
)
def test_a_document_that_is_wrong_is_told_where_and_what_is_allowed(
    change: tuple[str, Any], place: str, says: str
) -> None:
    with pytest.raises(Problem) as caught:
        LocalEngine().topology("mine", {"document": changed(change)})
    assert caught.value.status == 422
    assert caught.value.field == f"experiment.{place}"
    assert says in caught.value.detail


def test_every_fault_is_named_at_once() -> None:
    document = changed(("speed", 1), ("plan/trials", 0), ("workloads/relay/system", "dpdk"))
    with pytest.raises(Problem) as caught:
        LocalEngine().topology("mine", {"document": document})
    assert {fault["place"] for fault in caught.value.problems or []} == {
        "experiment.speed",
        "experiment.plan.trials",
        "experiment.workloads.relay.system",
    }


def test_a_search_looks_for_what_would_else_be_given() -> None:
    given = changed(("search", {}), ("factors", {"rate": [10.0, 20.0]}))
    with pytest.raises(Problem, match="cannot be a factor where `search` looks for it"):
        LocalEngine().topology("mine", {"document": given})
    assert own(changed(("search", {}), ("workloads/from/rate", None))).combinations


def test_how_long_it_takes_is_known_before() -> None:
    made = own(TWO_FDDI)
    found = estimate(made, Options())
    assert (found.combinations, found.trials) == (4, 8)
    assert found.seconds > 8 * 0.6
    assert estimate(made, Options(trials=20)).seconds > 5 * found.seconds
    searched = estimate(own(changed(("search", {}))), Options())
    assert searched.trials > found.trials
    for name in ("fddi", "ipc", "video", "cp"):
        assert LocalEngine().estimate(name, {"quick": True})["seconds"] > 1


def test_quick_is_one_short_trial_but_what_happens_in_it_still_does() -> None:
    long = own(changed(("plan/duration", 9.0))).document
    assert (own_plan(long, Options(quick=True)).trials, own_plan(long, Options(quick=True)).measured_s) == (
        1,
        1,
    )
    happening = own(changed(("plan/duration", 9.0), ("events", ["at 5s: hogs=1"]))).document
    assert own_plan(happening, Options(quick=True)).measured_s == 9
