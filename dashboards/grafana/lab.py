"""One lab: what its networks carry and its hosts do, and where datagrams end."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.grafana import layout
from dashboards.grafana.panels import Query, graph, over_time, states, words

HERE = 'lab="$lab", host=~"$host"'
CARRIED = '8 * sum by (host, network) (rate(transship_link_bytes_total{lab="$lab"}[5s]))'
NODES = f"""
label_replace(label_replace(label_replace(
  sum by (host) ({CARRIED}), "id", "host $1", "host", "(.*)"), "title", "$1", "host", "(.*)"),
  "subtitle", "host", "", "")
or label_replace(label_replace(label_replace(
  sum by (network) (transship:network_bits:rate5s{{lab="$lab"}}),
  "id", "network $1", "network", "(.*)"), "title", "$1", "network", "(.*)"),
  "subtitle", "network", "", "")
"""
EDGES = f"""
label_join(label_replace(label_replace({CARRIED},
  "source", "host $1", "host", "(.*)"), "target", "network $1", "network", "(.*)"),
  "id", " ", "host", "network")
"""


def dashboard() -> Dashboard:
    """The dashboard."""
    topology = (
        graph(
            "Topology",
            "Hosts and networks, and what flows between them (wire bits, both directions). "
            "The page that the orchestrator itself serves has the same as a map of its own.",
            "bps",
            NODES,
            EDGES,
        ),
        states(
            "Links",
            "1 while a host's link to a network is whole, 0 while it, or the network, is cut.",
            Query('transship_link_up{lab="$lab"}', "{{host}} - {{network}}"),
            span=12,
        ),
        words(
            "Rates are of the last 5 s. The same, live twice a second and with sliders, is on the page that "
            "the orchestrator serves at its own address (`./transship up` prints it)."
        ),
    )
    networks = (
        over_time(
            "What the networks carry",
            "Wire bits, with all headers.",
            "bps",
            Query('transship:network_bits:rate5s{lab="$lab"}', "{{network}}"),
        ),
        over_time(
            "Use of the networks",
            "Of their rate, where they have one.",
            "percentunit",
            Query('transship:network_utilization:ratio{lab="$lab"}', "{{network}}"),
        ),
        over_time(
            "Backlog of the networks",
            "What waits in their queues.",
            "bytes",
            Query('transship_network_backlog_bytes{lab="$lab"}', "{{network}}"),
        ),
        over_time(
            "Drops in the networks by place",
            "Frames.",
            "pps",
            Query(
                'sum by (network, place) (rate(transship_network_dropped_total{lab="$lab"}[5s]))',
                "{{network}}: {{place}}",
            ),
        ),
    )
    traffic = (
        over_time(
            "Throughput of the hosts",
            "Payload that workloads took in and gave out.",
            "bps",
            Query(
                f"transship:throughput_bits:rate5s{{{HERE}}}",
                "{{host}}: {{workload}} {{direction}} ({{system}})",
            ),
        ),
        over_time(
            "Loss",
            "Of what was sent to each sink, by sequence numbers.",
            "percentunit",
            Query(
                f"clamp_min(1 - sum by (host) (rate(transship_datagrams_unique_total{{{HERE}}}[5s]))"
                f" / (sum by (host) (rate(transship_datagrams_expected_total{{{HERE}}}[5s])) > 0), 0)",
                "{{host}}",
            ),
        ),
        over_time(
            "Drops on the hosts by place",
            "Datagrams dropped by workloads and the manager (docs/metrics.md says what the places mean).",
            "pps",
            Query(
                f"sum by (host, place) (rate(transship_dropped_datagrams_total{{{HERE}}}[5s]))",
                "{{host}}: {{place}}",
            ),
        ),
        over_time(
            "CPU of the hosts",
            "CPU seconds per second of the I/O path, the hogs and the host agent: 1 is one CPU.",
            "short",
            Query(f"rate(transship_cpu_seconds_total{{{HERE}}}[5s])", "{{host}}: {{group}}"),
            stacked=True,
        ),
        over_time(
            "Hogs",
            "Processes that compete for the CPU.",
            "short",
            Query(f"transship_hogs{{{HERE}}}", "{{host}}"),
        ),
        states(
            "Host agents",
            "In which state each host's agent is.",
            Query(f"transship_host_agent_state{{{HERE}}} == 1", "{{host}}: {{state}}"),
        ),
    )
    return layout.board(
        "lab",
        "lab",
        "One lab: networks, hosts, drops by place. docs/observe.md",
        (layout.lab(), layout.host()),
        (("Topology", topology), ("Networks", networks), ("Hosts", traffic)),
    )
