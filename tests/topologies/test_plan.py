"""A user relies on: the same topology always gives the same names, addresses and sizes, all of them legal."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from topologies import Topology, load_topology, resolve
from topologies.builder.plan import plan
from topologies.builder.shaping import burst_bytes, limit_bytes, rate_bytes, redirects, shapers
from topologies.chain import chain
from topologies.record import Record


def planned(topology: Topology, cpus: tuple[int, ...] = (0, 1)) -> Record:
    return plan("lab", topology, Path("/run/transship/lab"), cpus)


def linear(switches: int) -> Topology:
    numbers = range(1, switches + 1)
    return load_topology(
        {
            "name": "linear",
            "hosts": {f"h{n}": {} for n in numbers},
            "networks": {f"s{n}": {"medium": "switched"} for n in numbers},
            "links": [{"ends": [f"h{n}", f"s{n}"], "rate_mbps": 10} for n in numbers]
            + [{"ends": [f"s{n}", f"s{n + 1}"], "rate_mbps": 10} for n in numbers[:-1]],
        }
    )


def test_two_fddi_has_the_addresses_of_the_documentation() -> None:
    record = planned(resolve("two-fddi"))
    found = {name: [str(i.address) for i in host.interfaces] for name, host in record.hosts.items()}
    assert found == {"source": ["10.1.0.1"], "middle": ["10.1.0.2", "10.2.0.1"], "sink": ["10.2.0.2"]}
    assert [i.name for i in record.hosts["middle"].interfaces] == ["eth0", "eth1"]
    assert {i.mtu for host in record.hosts.values() for i in host.interfaces} == {4352}


def test_planning_is_deterministic() -> None:
    assert planned(chain(20)) == planned(chain(20))


@pytest.mark.parametrize(
    "topology", [linear(200), chain(300), resolve("two-fddi")], ids=["linear", "chain", "two"]
)
def test_names_numbers_and_addresses_are_unique_and_fit_the_kernel(topology: Topology) -> None:
    record = planned(topology)
    ports = [port for network in record.networks.values() for port in network.port_details]
    devices = [network.bridge for network in record.networks.values()]
    devices += [network.ifb for network in record.networks.values() if network.ifb]
    devices += [port.name for port in ports] + [port.ifb for port in ports if port.ifb]
    indexes = [network.index for network in record.networks.values()]
    indexes += [network.ifb_index for network in record.networks.values()]
    indexes += [port.index for port in ports] + [port.ifb_index for port in ports if port.ifb_index]
    interfaces = [interface for host in record.hosts.values() for interface in host.interfaces]
    macs = [interface.mac for interface in interfaces] + [port.mac for port in ports]
    for unique in (devices, indexes, macs, [interface.address for interface in interfaces]):
        assert len(unique) == len(set(unique))
    assert max(map(len, devices)) <= 15
    assert all(int(mac[:2], 16) & 3 == 2 for mac in macs), "locally administered, unicast"


def test_joined_networks_share_a_subnet() -> None:
    record = planned(linear(5))
    assert {network.subnet for network in record.networks.values()} == {"10.1.0.0/24"}
    assert str(record.hosts["h5"].interfaces[0].address) == "10.1.0.5"


def test_a_given_subnet_is_kept_clear_by_the_automatic_ones() -> None:
    topology = load_topology(
        {
            "name": "t",
            "hosts": {"a": {}},
            "networks": {"x": {"stations": ["a"]}, "y": {"stations": ["a"], "subnet": "10.1.0.0/16"}},
        }
    )
    subnets = [IPv4Network(network.subnet) for network in planned(topology).networks.values()]
    assert not subnets[0].overlaps(subnets[1])


def test_fixed_addresses_are_given_and_not_given_twice() -> None:
    value: dict[str, Any] = {
        "name": "t",
        "hosts": {"a": {}, "b": {}, "c": {}},
        "networks": {"x": {"stations": ["a", "b", "c"], "addresses": {"b": "10.1.0.1"}}},
    }
    hosts = planned(load_topology(value)).hosts
    assert [str(hosts[name].interfaces[0].address) for name in "abc"] == ["10.1.0.2", "10.1.0.1", "10.1.0.3"]


def test_a_cable_between_two_hosts_is_a_network_of_two() -> None:
    record = planned(
        load_topology(
            {"name": "t", "hosts": {"a": {}, "b": {}}, "links": [{"ends": ["a", "b"], "rate_mbps": 5}]}
        )
    )
    network = record.networks["link-1"]
    assert [port.host for port in network.port_details] == ["a", "b"]
    assert sorted(shaper.rate_mbps for shaper in shapers(network)) == [5, 5]


def test_cpus_beyond_the_machine_are_shared_and_reported() -> None:
    record = planned(resolve("two-fddi"), cpus=(3,))
    assert record.steering.shared
    assert record.hosts["middle"].cpus == [3]
    assert "more CPUs" in record.steering.reason
    assert not planned(resolve("two-fddi")).steering.shared


def test_a_shared_network_has_one_bucket_for_all_and_a_switched_one_each() -> None:
    two = planned(resolve("two-fddi")).networks["ring-a"]
    assert [shaper.name for shaper in shapers(two)] == [two.ifb]
    assert {redirect.target for redirect in redirects(two)} == {two.ifb_index}
    switched = resolve("two-fddi").model_dump(mode="json")
    switched["networks"]["ring-a"]["medium"] = "switched"
    network = planned(load_topology(switched)).networks["ring-a"]
    assert [shaper.name for shaper in shapers(network)] == network.ports
    assert list(redirects(network)) == []


def test_a_link_with_a_rate_is_shaped_both_ways() -> None:
    network = planned(linear(1)).networks["s1"]
    port = network.port_details[0]
    assert {shaper.name for shaper in shapers(network)} == {port.name, port.ifb}


def test_without_a_rate_nothing_is_shaped() -> None:
    value = resolve("two-fddi").model_dump(mode="json")
    value["networks"]["ring-a"]["rate_mbps"] = None
    network = planned(load_topology(value)).networks["ring-a"]
    assert list(shapers(network)) == []
    assert list(redirects(network)) == []


@pytest.mark.parametrize("rate", [1, 10, 93.5, 100, 1000, 10_000])
@pytest.mark.parametrize("mtu", [576, 1500, 4352, 9000])
def test_a_bucket_holds_two_frames_and_two_milliseconds(rate: float, mtu: int) -> None:
    burst = burst_bytes(rate, mtu)
    assert burst >= 2 * (mtu + 14)
    assert burst >= rate_bytes(rate) * 0.0019
    assert burst < 1 << 32


def test_the_queue_outlasts_every_stations_send_buffer() -> None:
    doubled_by_the_kernel = 2 * (4 << 20)
    assert limit_bytes(1) > doubled_by_the_kernel
    assert limit_bytes(3) > 3 * doubled_by_the_kernel
    assert limit_bytes(1000) < 1 << 32


def test_a_record_survives_being_written(tmp_path: Path) -> None:
    record = planned(resolve("two-fddi")).model_copy(update={"run_dir": tmp_path})
    record.save()
    assert Record.model_validate_json((tmp_path / "record.json").read_text()) == record
