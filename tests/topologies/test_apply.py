"""A user relies on: another topology changes only what differs, and a change that fails changes nothing."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.topologies.conftest import Place
from tests.topologies.traffic import send, send_numbered
from topologies import Topology, load_topology, resolve
from topologies.builder import (
    LabError,
    LabExists,
    NoSuchLab,
    PartlyChanged,
    Record,
    Unsupported,
    apply,
    read_record,
)
from topologies.builder.apply import planned
from topologies.builder.control import counters, set_network
from topologies.builder.difference import difference
from topologies.builder.netns import NETNS_DIR, create_namespace, delete_namespace, in_thread
from topologies.builder.outages import set_cut
from topologies.cgroups import HostCgroup

pytestmark = pytest.mark.root

COUNT = 200


def fddi(**rings: Any) -> dict[str, Any]:
    """two-fddi, with changed rings."""
    value = resolve("two-fddi").model_dump(mode="json")
    for name, changed in rings.items():
        value["networks"][name.replace("_", "-")] |= changed
    return value


def other() -> Topology:
    """two-fddi without its sink and ring B; two more hosts, another ring, ring A at half the rate."""
    value = fddi(ring_a={"rate_mbps": 50, "stations": ["extra", "source", "middle"]})
    del value["hosts"]["sink"], value["networks"]["ring-b"]
    value["hosts"] |= {"extra": {}, "last": {}}
    value["networks"]["ring-c"] = {"mtu": 4352, "rate_mbps": 80, "stations": ["middle", "last"]}
    return load_topology(value)


def address(record: Record, host: str, network: str) -> str:
    return str(next(i.address for i in record.hosts[host].interfaces if i.network == network))


def reach(record: Record, source: str, sink: str, network: str) -> None:
    """All datagrams from host to host arrive."""
    ends = (record.hosts[source].namespace, record.hosts[sink].namespace)
    assert len(send_numbered(*ends, address(record, sink, network), COUNT)) == COUNT


@pytest.fixture
def guest(place: Place) -> Iterator[subprocess.Popen[bytes]]:
    """A process on the source of the lab."""
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process
        process.kill()


def test_only_the_difference_changes(place: Place, guest: subprocess.Popen[bytes]) -> None:
    before = place.deploy()
    HostCgroup(before.hosts["source"].cgroup).attach(guest.pid, "io")
    inodes = {name: os.stat(NETNS_DIR / before.hosts[name].namespace).st_ino for name in ("source", "middle")}
    wanted = [change.document() for change in difference(before, planned(before, other()))]
    assert read_record(place.lab, place.run_root) == before
    after, changes = apply(before, other())
    assert [change.document() for change in changes] == wanted
    assert {(change.change, change.kind, change.name) for change in changes} == {
        ("remove", "host", "sink"),
        ("remove", "network", "ring-b"),
        ("remove", "interface", "middle/ring-b"),
        ("remove", "interface", "sink/ring-b"),
        ("add", "host", "extra"),
        ("add", "host", "last"),
        ("add", "network", "ring-c"),
        ("add", "interface", "extra/ring-a"),
        ("add", "interface", "middle/ring-c"),
        ("add", "interface", "last/ring-c"),
        ("change", "network", "ring-a"),
    }
    assert changes[-1].fields == {"rate_mbps": (100, 50)}
    assert read_record(place.lab, place.run_root) == after
    # The source is what it was, and so is what it knows of the middle host.
    assert guest.poll() is None
    assert after.hosts["source"] == before.hosts["source"]
    assert address(after, "middle", "ring-a") == address(before, "middle", "ring-a")
    for name, inode in inodes.items():
        assert os.stat(NETNS_DIR / after.hosts[name].namespace).st_ino == inode
    reach(after, "source", "middle", "ring-a")
    reach(after, "extra", "middle", "ring-a")
    reach(after, "middle", "last", "ring-c")
    assert not (NETNS_DIR / before.hosts["sink"].namespace).exists()
    assert not HostCgroup(before.hosts["sink"].cgroup).processes()
    assert f"ring-c.{after.networks['ring-c'].ifb}.tx_packets" in counters(after)
    assert apply(after, other())[1] == []
    place.destroy()
    assert place.remains() == []


def test_traffic_goes_on_while_the_lab_changes_around_it(place: Place) -> None:
    record = place.deploy()
    source, middle = record.hosts["source"].namespace, record.hosts["middle"].namespace
    reach(record, "source", "middle", "ring-a")

    def change() -> Record:
        changed = record
        for topology in (other(), load_topology(fddi())):
            changed, _ = apply(changed, topology)
        return changed

    with ThreadPoolExecutor(1) as pool:
        changed = pool.submit(change)
        flow = send(source, middle, "10.1.0.2", 1.0, 40)
    assert flow.missing() == [] and flow.twice() == []
    reach(changed.result(), "middle", "sink", "ring-b")


def test_networks_change_in_place(place: Place, guest: subprocess.Popen[bytes]) -> None:
    record = place.deploy()
    HostCgroup(record.hosts["middle"].cgroup).attach(guest.pid, "io")
    for ring, mbps in (
        ({"medium": "switched"}, 99),
        ({"medium": "switched", "rate_mbps": 20, "mtu": 6000}, 20),
        ({"medium": "shared", "rate_mbps": 30, "subnet": "10.9.0.0/24"}, 30),
        ({"medium": "shared", "rate_mbps": None}, None),
        (
            {"medium": "switched", "rate_mbps": None, "addresses": {"middle": "10.1.0.77"}, "subnet": None},
            None,
        ),
        ({}, 99),
    ):
        record, changes = apply(record, load_topology(fddi(ring_a=ring)))
        assert all(change.change == "change" for change in changes)
        reach(record, "source", "middle", "ring-a")
        ends = (record.hosts["source"].namespace, record.hosts["middle"].namespace)
        flow = send(*ends, address(record, "middle", "ring-a"), 0.4, 200)
        assert flow.missing() == []
        if mbps is None:
            assert flow.mbps > 105  # more than the rate it had
        else:
            assert flow.mbps == pytest.approx(mbps, rel=0.06)
    assert guest.poll() is None


def test_links_trunks_cpus_and_gates(place: Place) -> None:
    hosts: dict[str, Any] = {"a": {"cpus": [0]}, "b": {}, "c": {}}
    networks: dict[str, Any] = {
        name: {"medium": "switched", "mtu": 4352, "stations": stations}
        for name, stations in (("s1", ["a"]), ("s2", ["b"]))
    }
    links: list[dict[str, Any]] = [{"ends": ["s1", "s2"]}, {"ends": ["c", "s1"], "rate_mbps": 10}]
    value = {"name": "t", "hosts": hosts, "networks": networks, "links": links}
    record = place.deploy(load_topology(value))
    record = set_cut(record, "s1", "a", True)
    hosts["a"] = {}
    hosts["d"] = {}
    networks["s1"] |= {"stations": ["a", "d"], "loss": 1.0}
    links[:] = [{"ends": ["c", "s1"], "rate_mbps": 20}, {"ends": ["b", "c"]}]
    record, changes = apply(record, load_topology(value))
    named = {(change.change, change.kind, change.name) for change in changes}
    assert {("remove", "trunk", "s1/s2"), ("change", "interface", "c/s1"), ("change", "host", "a")} <= named
    assert {("add", "network", "link-2"), ("add", "host", "d"), ("change", "network", "s1")} <= named
    reach(record, "b", "c", "link-2")
    # What was cut is cut, and a new station loses what the network loses.
    ports = {port.host: port for port in record.networks["s1"].port_details}
    assert ports["a"].cut and not ports["d"].cut
    ends = (record.hosts["d"].namespace, record.hosts["c"].namespace)
    lost = f"s1.{ports['d'].name}.impairment_drops"
    assert send_numbered(*ends, address(record, "c", "s1"), COUNT, lambda: counters(record)[lost]) == []
    record = set_network(
        set_cut(record, "s1", "a", False), "s1", None, load_topology(value).networks["s1"].impairments
    )
    del networks["s1"]["loss"]
    record, changes = apply(record, load_topology(value))
    assert [dict(change.fields) for change in changes] == [{"loss": (1.0, 0.0)}]
    reach(record, "d", "c", "s1")
    reach(record, "a", "c", "s1")


def test_a_failure_at_any_step_leaves_the_lab_as_it_was(place: Place, guest: subprocess.Popen[bytes]) -> None:
    record = place.deploy(load_topology(fddi(ring_a={"loss": 0.0})))
    HostCgroup(record.hosts["sink"].cgroup).attach(guest.pid, "io")
    failing, failed = 0, True
    while failed:
        steps: list[str] = []

        def step(name: str, steps: list[str] = steps, failing: int = failing) -> None:
            # Whatever there is by now is in the record.
            found = read_record(place.lab, place.run_root)
            assert found is not None and {"sink", "extra"} <= set(found.hosts) and found.state == "changing"
            steps.append(name)
            if len(steps) > failing:
                raise InterruptedError(f"at {name}")

        try:
            after, _ = apply(record, other(), step=step)
            failed = False
        except LabError as error:
            assert "stays as it was: at " in str(error)
            assert read_record(place.lab, place.run_root) == record
            assert not (NETNS_DIR / f"transship-{place.lab}-extra").exists()
            assert guest.poll() is None
            reach(record, "source", "middle", "ring-a")
            reach(record, "middle", "sink", "ring-b")
        failing += 1
    assert failing > 8
    reach(after, "extra", "source", "ring-a")
    assert guest.wait() == -9


def test_a_kernel_that_cannot_leaves_the_lab_as_it_was(place: Place) -> None:
    record = place.deploy()
    with pytest.raises(Unsupported, match="has no queue"):
        apply(
            record,
            load_topology(fddi(ring_a={"rate_mbps": None}, ring_b={"rate_mbps": None, "delay_ms": 5.0})),
        )
    assert read_record(place.lab, place.run_root) == record
    source, middle = record.hosts["source"].namespace, record.hosts["middle"].namespace
    assert send(source, middle, "10.1.0.2", 0.5, 150).mbps == pytest.approx(99, abs=3)


def test_what_is_not_the_labs_is_refused_and_left_alone(place: Place) -> None:
    record = place.deploy()
    name = f"transship-{place.lab}-extra"
    in_thread(lambda: create_namespace(name))
    try:
        with pytest.raises(LabExists, match="is not this lab's"):
            apply(record, other())
        assert (NETNS_DIR / name).exists()
        assert read_record(place.lab, place.run_root) == record
    finally:
        delete_namespace(name)


def test_a_lab_stuck_half_way_names_all_and_can_be_deployed_anew_or_destroyed(place: Place) -> None:
    record = place.deploy()

    def fail(hosts: list[str]) -> None:
        assert hosts == ["sink"]
        raise OSError("no more of it")

    with pytest.raises(PartlyChanged, match="only in part, destroy it: no more of it"):
        apply(record, other(), leaving=fail)
    stuck = read_record(place.lab, place.run_root)
    assert stuck is not None and stuck.state == "changing"
    assert set(stuck.hosts) == {"source", "middle", "sink", "extra", "last"}
    assert set(stuck.networks) == {"ring-a", "ring-b", "ring-c"}
    with pytest.raises(NoSuchLab):
        set_network(stuck, "ring-a", 10)
    after = place.deploy(other())
    assert not (NETNS_DIR / f"transship-{place.lab}-sink").exists()
    reach(after, "middle", "last", "ring-c")
    with pytest.raises(PartlyChanged):
        apply(after, load_topology(fddi()), leaving=lambda hosts: fail(["sink"]))
    place.destroy()
    assert place.remains() == []
