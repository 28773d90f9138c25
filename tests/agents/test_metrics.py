"""Metrics have the documented names and labels, whatever a workload counts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from agents.host_counters import read_network, read_softirq
from agents.metrics import render

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"

MEASURED: dict[str, Any] = {
    "totals": [
        {
            "workload": "forwarder",
            "system": "shipping",
            "counters": {"datagrams_in": 2**63, "bytes_out": 1, "drop_queue": 3, "wakeups": 9},
        },
        {"workload": "relay", "system": "copy", "counters": {"operations_in": 5}},
        {
            "workload": "manager",
            "system": "stack",
            "counters": {"drop_queue": 4, 'drop_a"b\n': 1, "reclaimed_containers": 8},
        },
    ],
    "gauges": {"containers_free": 5, "ring_udp9000_backlog": 6},
    "states": [{"workload": "forwarder", "system": "shipping", "state": "running", "count": 1}],
    "cpu_usec": {"io": 1_500_000, "hogs": 0, "agent": 10},
}


def test_every_family_is_documented_with_its_labels() -> None:
    rows = re.findall(r"^\| `(transship_\w+)` \| \w+ \| ([^|]*) \|", DOCUMENT.read_text(), re.MULTILINE)
    documented = {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}
    seen: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(render("lab", "middle", MEASURED).decode()):
        for sample in family.samples:
            seen.setdefault(sample.name, set()).update(sample.labels)
    assert seen == documented


def test_values() -> None:
    text = render("lab", "middle", MEASURED).decode()
    assert 'place="queue"} 7.0' in text
    assert 'transship_cpu_seconds_total{group="io",host="middle",lab="lab"} 1.5' in text
    assert r'place="a\"b\n"' in text
    assert 'transship_reclaimed_containers_total{host="middle",lab="lab"} 8.0' in text


def test_an_idle_host_has_its_cpu_time_only() -> None:
    empty = {"totals": [], "gauges": {}, "states": [], "cpu_usec": {"io": 0}}
    families = text_string_to_metric_families(render("lab", "middle", empty).decode())
    assert [s.name for f in families for s in f.samples] == ["transship_cpu_seconds_total"]


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


def test_softirq_time_is_by_cpu(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text(
        "cpu  1 2 3 4 5 6 7 8\ncpu0 1 2 3 4 5 6 70 8\ncpu1 1 2 3 4 5 6 71 8\nintr 5\n"
    )
    assert read_softirq(tmp_path) == {"softirq.cpu0_ticks": 70, "softirq.cpu1_ticks": 71}
