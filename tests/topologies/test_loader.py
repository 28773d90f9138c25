"""A user relies on: a good file loads, and a bad one gets one clear error with the place and the line."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topologies import TopologyError, load_topology, resolve, shipped
from topologies.yaml_text import MAX_BYTES

GOOD = """\
name: lab
hosts:
  h1: {}
  h2: {cpus: [0, 1]}
networks:
  ring:
    rate_mbps: 100
    mtu: 4352
    stations: [h1, h2]
"""


def problem(text: str | bytes) -> tuple[str, int | None, str]:
    with pytest.raises(TopologyError) as caught:
        load_topology(text)
    first = caught.value.problems[0]
    return first["place"], first["line"], first["message"]


def test_a_good_file_loads() -> None:
    topology = load_topology(GOOD)
    assert list(topology.hosts) == ["h1", "h2"]
    assert topology.networks["ring"].rate_mbps == 100
    assert topology.networks["ring"].medium == "shared"


def test_text_bytes_mapping_and_path_are_the_same(tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text(GOOD)
    topology = load_topology(GOOD)
    assert load_topology(GOOD.encode()) == topology
    assert load_topology(file) == topology
    assert load_topology(topology.model_dump(mode="json")) == topology


@pytest.mark.parametrize(
    "rate", ["0", "0.5", "-3", ".nan", ".inf", "-.inf", "1e999", "fast", "'100'", "true", "10001"]
)
def test_a_rate_that_cannot_be_is_refused_by_name_and_line(rate: str) -> None:
    place, line, message = problem(GOOD.replace("rate_mbps: 100", f"rate_mbps: {rate}"))
    assert (place, line) == ("networks.ring.rate_mbps", 7)
    assert message.startswith("must be")


@pytest.mark.parametrize("rate", [float("nan"), math.inf, -1, 0, "100", True, 10**400, [], None.__class__])
def test_a_rate_from_json_is_held_to_the_same_rules(rate: Any) -> None:
    value = load_topology(GOOD).model_dump(mode="json")
    value["networks"]["ring"]["rate_mbps"] = rate
    with pytest.raises(TopologyError, match=r"networks\.ring\.rate_mbps"):
        load_topology(value)


@pytest.mark.parametrize(
    "name", ["'$(touch x)'", "-rf", "H1", "'a b'", "'../x'", "''", "a" * 32, "'h\\n'", '"h\\n"', "é"]
)
def test_a_host_name_that_is_not_a_name_is_refused(name: str) -> None:
    place, line, message = problem(GOOD.replace("  h1: {}", f"  {name}: {{}}"))
    assert place.startswith("hosts.")
    assert line == 3
    assert "lower-case letters" in message


@pytest.mark.parametrize(
    ("change", "place", "line", "message"),
    [
        (("mtu: 4352", "colour: red"), "networks.ring.colour", 8, "not a key known"),
        (("name: lab", "nam: lab"), "name", 1, "is required"),
        (("mtu: 4352", "mtu: 100"), "networks.ring.mtu", 8, "greater than or equal to 576"),
        (("mtu: 4352", "mtu: 1500.5"), "networks.ring.mtu", 8, "whole number"),
        (("mtu: 4352", "medium: token"), "networks.ring.medium", 8, "'shared' or 'switched'"),
        (("cpus: [0, 1]", "cpus: []"), "hosts.h2.cpus", 4, "at least 1"),
        (("cpus: [0, 1]", "cpus: [-1]"), "hosts.h2.cpus.0", 4, "greater than or equal to 0"),
        (("  h1: {}", "  h1:"), "hosts.h1", 3, "must be a mapping"),
        (("[h1, h2]", "[h1, h2, h3]"), "networks.ring.stations.2", 9, "no host 'h3'"),
        (("[h1, h2]", "[h1, h2, h1]"), "networks.ring.stations.2", 9, "already a station"),
        (("[h1, h2]", "[h1]"), "hosts.h2", 4, "is in no network"),
        (("mtu: 4352", "subnet: 10.0.0.0/31"), "networks.ring.subnet", 8, "room for 0 stations, not for 2"),
        (("mtu: 4352", "subnet: 10.0.0.1/24"), "networks.ring.subnet", 8, "host bits"),
        (("mtu: 4352", "subnet: 127.0.0.0/24"), "networks.ring.subnet", 8, "not a range that hosts can use"),
        (("mtu: 4352", "subnet: 224.0.0.0/24"), "networks.ring.subnet", 8, "not a range that hosts can use"),
        (("mtu: 4352", "addresses: {h1: 10.9.0.1}"), "networks.ring.addresses.h1", 8, "not an address of"),
        (("mtu: 4352", "addresses: {h9: 10.1.0.1}"), "networks.ring.addresses.h9", 8, "not a station"),
        (("  h1: {}", "  net: {}"), "hosts.net", 3, "reserved"),
        (("  ring:", "  h1:"), "networks.h1", 6, "already the name of a host"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(
    change: tuple[str, str], place: str, line: int, message: str
) -> None:
    found = problem(GOOD.replace(*change))
    assert found[:2] == (place, line)
    assert message in found[2]


def test_duplicate_host_names_are_an_error() -> None:
    place, line, message = problem(GOOD.replace("  h2:", "  h1:"))
    assert line == 4
    assert "hosts.h1 is written twice (first on line 3)" in message
    assert place == ""


def test_overlapping_subnets_name_both_networks() -> None:
    text = GOOD.replace("mtu: 4352", "subnet: 10.7.0.0/16") + "  two: {stations: [h1], subnet: 10.7.1.0/24}\n"
    assert problem(text) == ("networks.two.subnet", 10, "10.7.1.0/24 overlaps 10.7.0.0/16 of 'ring'")


@pytest.mark.parametrize(
    ("links", "place", "message"),
    [
        ("[{ends: [s1, s1]}]", "links.0.ends", "both ends"),
        ("[{ends: [s1, s9]}]", "links.0.ends.1", "no host or network 's9'"),
        ("[{ends: [s1]}]", "links.0.ends", "at least 2"),
        ("[{ends: [s1, s2]}, {ends: [s2, s1]}]", "links.1", "closes a loop"),
        ("[{ends: [s1, h1], rate_mbps: 5}]", "links.0.ends.1", "already a station"),
        ("[{ends: [h2, ring], rate_mbps: 5}]", "links.0.rate_mbps", "has the network's rate"),
        ("[{ends: [ring, s1]}]", "links.0.ends", "different mtu"),
    ],
)
def test_links_that_cannot_be_are_refused(links: str, place: str, message: str) -> None:
    text = f"""\
name: lab
hosts: {{h1: {{}}, h2: {{}}}}
networks:
  s1: {{medium: switched, stations: [h1, h2]}}
  s2: {{medium: switched}}
  ring: {{mtu: 4352}}
links: {links}
"""
    found = problem(text)
    assert found[0] == place
    assert message in found[2]
    assert found[1] == 7


def test_ten_megabytes_are_refused_unread() -> None:
    assert "longer than 1024 KiB" in problem("# " + "x" * 10_000_000)[2]
    assert "longer than" in problem(b"a" * (MAX_BYTES + 1))[2]


def test_a_file_of_ten_megabytes_and_one_that_is_not_there(tmp_path: Path) -> None:
    big = tmp_path / "big.yaml"
    big.write_bytes(b"#" * 10_000_000)
    for path, message in (
        (big, "longer than"),
        (tmp_path / "none.yaml", "No such file"),
        (tmp_path, "directory"),
    ):
        with pytest.raises(TopologyError, match=message) as caught:
            load_topology(path)
        assert str(path) in str(caught.value)


def test_an_alias_bomb_is_refused() -> None:
    bomb = "a: &a [x, x]\n" + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}]\n" for n in range(20))
    assert problem(bomb)[1:] == (1, "anchors (&name) are not allowed")
    assert problem("a: *b")[1:] == (1, "aliases (*name) are not allowed")


@pytest.mark.parametrize(
    "text",
    [
        "[" * 500_000,
        "{a: " * 100_000,
        "- " * 300_000,
        "a:\n" + "\n".join(" " * n + "a:" for n in range(1, 900)),
    ],
)
def test_deep_nesting_is_refused(text: str) -> None:
    assert "nested deeper" in problem(text)[2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a mapping with name"),
        ("- a", "a mapping with name"),
        ("name: a\n\thosts: b", "is not YAML"),
        ("name: [a", "is not YAML"),
        ("name: !!python/object/apply:os.system [id]", "tags are not allowed"),
        ("--- {a: 1}\n--- {a: 2}", "more than one document"),
        ("? [a, b]\n: c", "a key must be plain text"),
        (b"name: \xff\xfe", "is not UTF-8"),
        ("name: \x00", "is not YAML"),
        ("name: \ud800", "is not UTF-8"),
    ],
)
def test_what_is_not_a_topologys_yaml(text: str | bytes, message: str) -> None:
    assert message in problem(text)[2]


def test_yaml_has_no_surprises_of_version_1_1() -> None:
    topology = load_topology(GOOD.replace("h1", "on").replace("h2", "no"))
    assert list(topology.hosts) == ["on", "no"]


def test_too_many_hosts_is_one_error() -> None:
    hosts: dict[str, Any] = {f"h{n}": {} for n in range(1001)}
    with pytest.raises(TopologyError) as caught:
        load_topology({"name": "big", "hosts": hosts, "networks": {"n": {"stations": list(hosts)}}})
    assert caught.value.problems[0]["place"] == "hosts"


def test_a_thousand_hosts_on_one_network_get_a_wider_subnet() -> None:
    hosts: dict[str, Any] = {f"h{n}": {} for n in range(1000)}
    load_topology({"name": "big", "hosts": hosts, "networks": {"n": {"stations": list(hosts)}}})


def test_shipped_topologies_load_by_name() -> None:
    assert set(shipped()) == {"two-fddi", "two-fddi-switched", "chain", "one-host"}
    two = resolve("two-fddi")
    assert [host.cpus for host in two.hosts.values()] == [[0], [1], [0]]
    assert {(n.medium, n.rate_mbps, n.mtu) for n in two.networks.values()} == {("shared", 100.0, 4352)}


def test_a_workstation_may_stand_alone_but_not_be_forgotten() -> None:
    alone = resolve("one-host")
    assert list(alone.hosts) == ["workstation"] and not alone.networks
    with pytest.raises(TopologyError, match=r"hosts\.h3: is in no network"):
        load_topology(
            {
                "name": "x",
                "hosts": {"h1": {}, "h2": {}, "h3": {}},
                "networks": {"n": {"stations": ["h1", "h2"]}},
            }
        )


def test_the_switched_rings_differ_from_the_shared_ones_in_nothing_else() -> None:
    shared, switched = (resolve(name).model_dump(mode="json") for name in ("two-fddi", "two-fddi-switched"))
    assert {network.pop("medium") for network in shared["networks"].values()} == {"shared"}
    assert {network.pop("medium") for network in switched["networks"].values()} == {"switched"}
    for one in (shared, switched):
        del one["name"], one["description"]
    assert shared == switched


def test_the_shipped_chain_is_a_chain_of_four() -> None:
    assert resolve("chain") == resolve("chain,4")
    assert len(resolve("chain,300").networks) == 299


@pytest.mark.parametrize(
    "spec", ["chain,1", "chain,1001", "chain,x", "chain,", "chain,-1", "chain,²", "nothing", "", "$(id)"]
)
def test_a_name_that_names_nothing_is_refused(spec: str) -> None:
    with pytest.raises(TopologyError):
        resolve(spec)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)
NEAR = st.sampled_from(
    ["name", "hosts", "networks", "links", "h1", "ring", "stations", "rate_mbps", "subnet", "ends", "mtu"]
)
near_values = st.recursive(
    st.sampled_from(["h1", "ring", "10.0.0.0/8", 100, -1, 4352, None, float("nan"), "shared"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NEAR, inner, max_size=5),
    max_leaves=40,
)


@given(st.one_of(st.dictionaries(st.text(), json_values), st.dictionaries(NEAR, near_values)))
@settings(max_examples=300, deadline=None)
def test_no_mapping_raises_anything_else(value: dict[str, Any]) -> None:
    try:
        load_topology(value)
    except TopologyError as error:
        assert error.problems


@given(st.one_of(st.text(), st.binary(), st.text(alphabet="{}[]:,-&*!|>'\"%@`#? \n\tahn1")))
@settings(max_examples=500, deadline=None)
def test_no_text_raises_anything_else(text: str | bytes) -> None:
    try:
        load_topology(text)
    except TopologyError as error:
        assert error.problems


@given(st.integers(0, len(GOOD)), st.text(max_size=5), st.integers(0, 8))
@settings(max_examples=500, deadline=None)
def test_no_slip_of_the_pen_raises_anything_else(place: int, text: str, deleted: int) -> None:
    try:
        load_topology(GOOD[:place] + text + GOOD[place + deleted :])
    except TopologyError as error:
        assert error.problems
