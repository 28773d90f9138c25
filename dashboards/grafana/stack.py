"""The I/O stack of a host: its pool, its rings, recycling, and what a datagram costs."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.grafana import layout
from dashboards.grafana.panels import Query, over_time

HERE = 'lab=~"$lab", host=~"$host"'
SYSTEMS = f'{HERE}, system=~"$system"'


def dashboard() -> Dashboard:
    """The dashboard."""
    pool = (
        over_time(
            "Containers by state",
            "Of the pool: who owns them. docs/calls.md has the states.",
            "short",
            Query(f"sum by (host, state) (transship_containers{{{HERE}}})", "{{host}}: {{state}}"),
            stacked=True,
        ),
        over_time(
            "Use of the pool",
            "The part of the containers that is not free. At 100 % senders and receivers wait or lose.",
            "percentunit",
            Query(f"transship:pool_used:ratio{{{HERE}}}", "{{host}}"),
        ),
        over_time(
            "Recycling hit rate",
            "Of the containers that processes allocated, those that had been theirs, or of their path, "
            "before, and were not fetched from the pool.",
            "percentunit",
            Query(f"transship:recycled:ratio_rate5s{{{SYSTEMS}}}", "{{host}}: {{workload}} ({{system}})"),
        ),
        over_time(
            "Taken back from the dead",
            "Containers that the manager took back from processes that had ended.",
            "short",
            Query(f"rate(transship_reclaimed_containers_total{{{HERE}}}[5s])", "{{host}}"),
        ),
    )
    traffic = (
        over_time(
            "Backlog of the rings",
            "Descriptors that wait.",
            "short",
            Query(f"transship_ring_backlog{{{HERE}}}", "{{host}}: {{ring}}"),
        ),
        over_time(
            "Drops by place",
            "Datagrams dropped by workloads and the manager (docs/metrics.md).",
            "pps",
            Query(
                f"sum by (host, place) (rate(transship_dropped_datagrams_total{{{HERE}}}[5s]))",
                "{{host}}: {{place}}",
            ),
        ),
        over_time(
            "Datagrams",
            "Taken in and given out.",
            "pps",
            Query(
                f"transship:datagrams:rate5s{{{SYSTEMS}}}",
                "{{host}}: {{workload}} {{direction}} ({{system}})",
            ),
        ),
        over_time(
            "Operations of local channels",
            "Taken in and given out; frames of the video experiment are operations.",
            "ops",
            Query(
                f"transship:operations:rate5s{{{SYSTEMS}}}",
                "{{host}}: {{workload}} {{direction}} ({{system}})",
            ),
        ),
    )
    cost = (
        over_time(
            "CPU per datagram",
            "CPU time of the host's I/O path by the datagrams it took in; where one system works on it.",
            "s",
            Query(f"transship:cpu_seconds_per_datagram:ratio_rate5s{{{SYSTEMS}}}", "{{host}}: {{system}}"),
        ),
        over_time(
            "CPU of the I/O path",
            "CPU seconds per second of workloads and manager: 1 is one CPU.",
            "short",
            Query(f'rate(transship_cpu_seconds_total{{{HERE}, group="io"}}[5s])', "{{host}}"),
        ),
    )
    return layout.board(
        "stack",
        "I/O stack",
        "Containers, pool, rings, recycling, CPU per datagram. docs/observe.md",
        (layout.lab(True), layout.host(), layout.system()),
        (("Pool", pool), ("Traffic", traffic), ("Cost", cost)),
    )
