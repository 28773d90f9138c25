"""Metrics have the documented names and labels, whatever a workload counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from agents.families import table
from agents.host_counters import kernel_drops, read_network, read_softirq
from agents.metrics import HOSTS, LAB, render_host, render_lab

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"

SAID: dict[str, Any] = {
    "moment": 1.0,
    "hogs": 2,
    "managed": True,
    "totals": [
        {
            "workload": "forwarder",
            "system": "shipping",
            "counters": {"datagrams_in": 2**63, "bytes_out": 1, "drop_queue": 3, "wakeups": 9},
        },
        {"workload": "relay", "system": "copy", "counters": {"operations_in": 5, "allocated_pool": 4}},
        {
            "workload": "sink",
            "system": "linux",
            "counters": {"datagrams_expected": 8, "datagrams_unique": 7},
        },
        {
            "workload": "manager",
            "system": "stack",
            "counters": {"drop_queue": 4, 'drop_a"b\\\n': 1, "reclaimed_containers": 8},
        },
    ],
    "gauges": {"containers_free": 5, "ring_udp9000_backlog": 6},
    "states": [{"workload": "forwarder", "system": "shipping", "state": "running", "count": 1}],
    "running": [],
    "kernel": {"socket_buffer": 3},
}
MIDDLE = {
    "state": "running",
    "cpu_usec": {"io": 1_500_000, "hogs": 0, "agent": 10},
    "said": SAID,
}
LINK = {"state": "running", "to_bytes": 14, "from_bytes": 15}
RING = {
    **{"state": "running", "rate_mbps": 100.0, "medium": "shared", "loss": 0.0, "bytes": 11},
    **{"backlog_bytes": 12, "drops": {"queue": 13}, "links": {"middle": LINK}},
}
IDLE = {"state": "idle", "cpu_usec": {"io": 0}, "said": None}
LOOK = {"at": 1.0, "moment": 1.0, "hosts": {"middle": MIDDLE, "sink": IDLE}, "networks": {"ring-a": RING}}


def samples(text: bytes) -> dict[str, list[Sample]]:
    """By name, as Prometheus would read them."""
    found: dict[str, list[Sample]] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample)
    return found


def test_the_document_has_every_family() -> None:
    assert table(LAB) in DOCUMENT.read_text(), f"print(table(LAB)), and put it into {DOCUMENT}"


def test_every_family_has_the_labels_that_it_says() -> None:
    seen = {name: set(found[0].labels) for name, found in samples(render_lab("lab", LOOK)).items()}
    assert seen == {family.name: set(family.labels) for family in LAB}
    assert set(samples(render_host("lab", "middle", MIDDLE))) == {family.name for family in HOSTS}


def test_values() -> None:
    text = render_lab("lab", LOOK)
    found = samples(text)
    dropped = {sample.labels["place"]: sample.value for sample in found["transship_dropped_datagrams_total"]}
    assert dropped == {"queue": 7.0, 'a"b\\\n': 1.0}
    assert b'transship_cpu_seconds_total{lab="lab",host="middle",group="io"} 1.5\n' in text
    assert b'transship_reclaimed_containers_total{lab="lab",host="middle"} 8\n' in text
    assert found["transship_datagrams_total"][0].value == 2.0**63
    assert b'transship_network_rate_bytes_per_second{lab="lab",network="ring-a"} 12500000.0\n' in text
    states = {
        (sample.labels["host"], sample.labels["state"])
        for sample in found["transship_host_agent_state"]
        if sample.value == 1
    }
    assert states == {("middle", "running"), ("sink", "idle")}


def test_a_host_that_was_never_used_has_its_cpu_time_only() -> None:
    assert set(samples(render_host("lab", "sink", IDLE))) == {"transship_cpu_seconds_total"}


def test_a_cut_network_without_a_rate() -> None:
    ring = {**RING, "state": "cut", "rate_mbps": None}
    found = samples(render_lab("lab", {"hosts": {}, "networks": {"ring-a": ring}}))
    assert found["transship_network_up"][0].value == found["transship_link_up"][0].value == 0
    assert "transship_network_rate_bytes_per_second" not in found


def test_network_counters_have_the_kernels_names(tmp_path: Path) -> None:
    (tmp_path / "self/net").mkdir(parents=True)
    (tmp_path / "self/net/snmp").write_text(
        "Ip: Forwarding InDiscards\nIp: 1 2\nTcp: A\nTcp: -1\nUdp: InDatagrams NoPorts\nUdp: 3 4\n"
        "UdpLite: InDatagrams\nUdpLite: 9\n"
    )
    assert read_network(tmp_path) == {
        "ip.Forwarding": 1,
        "ip.InDiscards": 2,
        "udp.InDatagrams": 3,
        "udp.NoPorts": 4,
    }


def test_the_kernels_drops_have_names_and_none_is_counted_twice(tmp_path: Path) -> None:
    (tmp_path / "self/net").mkdir(parents=True)
    (tmp_path / "self/net/snmp").write_text(
        "Ip: InDiscards\nIp: 4\nUdp: NoPorts InErrors RcvbufErrors\nUdp: 1 7 5\n"
    )
    places = {"socket_buffer": 5, "no_socket": 1, "udp_errors": 2, "ip_discards": 4}
    assert kernel_drops(tmp_path) == places


def test_softirq_time_is_by_cpu(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text(
        "cpu  1 2 3 4 5 6 7 8\ncpu0 1 2 3 4 5 6 70 8\ncpu1 1 2 3 4 5 6 71 8\nintr 5\n"
    )
    assert read_softirq(tmp_path) == {"softirq.cpu0_ticks": 70, "softirq.cpu1_ticks": 71}
