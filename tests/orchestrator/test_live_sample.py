"""Samples out of looks that a fake machine does not give: agents that start again, die, or answer late."""

from typing import Any

from orchestrator.live.sample import sample


def look(moment: float, middle: dict[str, Any], **network: Any) -> dict[str, Any]:
    ring = {
        **{"state": "running", "rate_mbps": None, "medium": "switched", "loss": 0.0, "bytes": 0},
        **{"backlog_bytes": 0, "drops": {}, "links": {}},
    }
    hosts = {"middle": {"state": "running", "cpu_usec": {}, "said": None, **middle}}
    return {"at": 1.0, "moment": moment, "hosts": hosts, "networks": {"ring": {**ring, **network}}}


def said(moment: float, counters: dict[str, int], managed: bool = False, **more: Any) -> dict[str, Any]:
    one = {"id": "w-1", "workload": "relay", "system": "copy", "state": "running", "counters": counters}
    empty: dict[str, Any] = {"hogs": 0, "kernel": {"no_socket": 0}, "totals": [], "gauges": {}}
    return {"said": {**empty, "moment": moment, "managed": managed, "running": [one], **more}}


def middle(now: dict[str, Any], before: dict[str, Any] | None) -> dict[str, Any]:
    found: dict[str, Any] = sample("one", now, before)["hosts"]["middle"]
    return found


def test_operations_count_as_datagrams_do() -> None:
    before = look(1.0, said(1.0, {"operations_in": 5, "operations_out": 5, "bytes_in": 0}))
    now = look(2.0, said(2.0, {"operations_in": 25, "operations_out": 15, "bytes_in": 10**6}))
    (relay,) = middle(now, before)["workloads"]
    assert (relay["datagrams_in_per_s"], relay["datagrams_out_per_s"]) == (20.0, 10.0)
    assert (relay["mbps_in"], relay["mbps_out"], relay["loss"], relay["lost"]) == (8.0, 0.0, None, None)


def test_a_counter_that_fell_has_no_rate() -> None:
    before = look(
        1.0,
        {"cpu_usec": {"io": 9}, **said(1.0, {"datagrams_in": 50})},
        bytes=9,
        drops={"cut": 9},
        links={"middle": {"state": "running", "to_bytes": 9, "from_bytes": 0}},
    )
    now = look(
        2.0,
        {"cpu_usec": {"io": 1}, **said(2.0, {"datagrams_in": 3})},
        bytes=1,
        drops={"cut": 1},
        links={"middle": {"state": "running", "to_bytes": 1, "from_bytes": 0}},
    )
    seen = sample("one", now, before)
    assert seen["hosts"]["middle"]["cpu"]["io"] is None
    assert seen["hosts"]["middle"]["workloads"][0]["datagrams_in_per_s"] is None
    ring = seen["networks"]["ring"]
    assert (ring["mbps"], ring["drops_per_s"]) == (None, {})
    assert ring["links"]["middle"] == {"state": "running", "mbps_to": None, "mbps_from": 0.0}


def test_a_late_answer_has_its_own_moment() -> None:
    before = look(1.0, said(1.0, {"datagrams_in": 0}))
    now = look(2.0, said(3.0, {"datagrams_in": 100}))
    assert middle(now, before)["workloads"][0]["datagrams_in_per_s"] == 50.0


def test_an_agent_that_does_not_answer_makes_unknown_what_only_it_knows() -> None:
    now = look(2.0, {"cpu_usec": {"io": 500_000}})
    seen = middle(now, look(1.0, {"cpu_usec": {"io": 0}, **said(1.0, {})}))
    assert (seen["state"], seen["workloads"], seen["cpu"]["io"]) == ("running", None, 0.5)
    again = look(3.0, {"cpu_usec": {"io": 500_000}, **said(3.0, {"datagrams_in": 7})})
    assert middle(again, now)["workloads"][0]["datagrams_in_per_s"] is None


def test_what_the_kernel_throws_away_is_no_loss_where_our_stack_has_its_copy() -> None:
    kernel, more = {"no_socket": 10}, {"no_socket": 30}
    drops = [{"workload": "manager", "system": "stack", "counters": {"drop_no_port": 1}}]
    dropped = [{"workload": "manager", "system": "stack", "counters": {"drop_no_port": 3}}]
    for managed, expected in ((False, {"no_socket": 20.0, "no_port": 2.0}), (True, {"no_port": 2.0})):
        before = look(1.0, said(1.0, {}, managed, kernel=kernel, totals=drops))
        now = look(2.0, said(2.0, {}, managed, kernel=more, totals=dropped))
        assert middle(now, before)["drops_per_s"] == expected


def test_what_has_just_come_has_no_rates() -> None:
    now = look(2.0, said(2.0, {"datagrams_in": 7}))
    before = look(1.0, {})
    before["hosts"], before["networks"] = {}, {}
    seen = sample("one", now, before)
    assert seen["over_s"] == 1.0
    assert seen["networks"]["ring"]["mbps"] is None
    assert seen["hosts"]["middle"]["workloads"][0]["datagrams_in_per_s"] is None
