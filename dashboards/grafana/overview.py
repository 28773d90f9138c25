"""Labs, machines, health: what to look at first."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.grafana.layout import board
from dashboards.grafana.panels import Query, number, over_time, rows, states, yes_or_no

PROCESSES = (
    ("orchestrator", "process_{}{{job='transship-orchestrator'}}"),
    ("machine agent", "transship_machine_agent_process_{}"),
)
CPU = "CPU seconds per second: 1 is one CPU."


def _process(what: str, rate: bool) -> list[Query]:
    made = []
    for name, metric in PROCESSES:
        expr = metric.format(what).replace("'", '"')
        made.append(Query(f"rate({expr}[5s])" if rate else expr, name))
    return made


def dashboard() -> Dashboard:
    """The dashboard."""
    health = (
        yes_or_no(
            number(
                "Orchestrator",
                "Whether Prometheus gets its metrics.",
                "short",
                Query('up{job="transship-orchestrator"}', "{{instance}}"),
            ),
            "up",
            "DOWN",
        ),
        yes_or_no(
            number(
                "Machine agents",
                "Whether they answer the orchestrator.",
                "short",
                Query("transship_agent_up", "{{machine}}"),
            ),
            "up",
            "SILENT",
        ),
        number("Labs", "Those that are ready.", "short", Query('transship_labs{state="ready"}', "ready")),
        number(
            "Runs under way",
            "One at a time; the others are queued.",
            "short",
            Query('transship_runs{state="running"}', "running"),
        ),
        number("Runs queued", "They wait.", "short", Query('transship_runs{state="queued"}', "queued")),
        number(
            "Alerts",
            "How many fire, of those in dashboards/prometheus/alerts.yml.",
            "short",
            Query('count(ALERTS{alertstate="firing"}) or vector(0)', "firing"),
        ),
    )
    labs = (
        rows(
            "Hosts of every lab",
            "By the state of their agents: an agent starts when its host is first used.",
            Query("sum by (lab, state) (transship_host_agent_state) > 0"),
            {"lab": "lab", "state": "state of the agent", "Value": "hosts"},
            "short",
        ),
        over_time(
            "Labs by state",
            "",
            "short",
            Query("sum by (state) (transship_labs)", "{{state}}"),
            stacked=True,
        ),
        over_time(
            "Throughput of every lab",
            "Payload that arrived at its sinks.",
            "bps",
            Query(
                'sum by (lab) (transship:throughput_bits:rate5s{workload="sink", direction="in"})', "{{lab}}"
            ),
        ),
        over_time(
            "Loss in every lab",
            "Of what was sent, by sequence numbers; the system is the forwarder's, or else the sink's.",
            "percentunit",
            Query("transship:loss:ratio_rate5s", "{{lab}}: {{system}}"),
        ),
        states(
            "Networks",
            "1 while a network is whole, 0 while it is cut.",
            Query("transship_network_up", "{{lab}}: {{network}}"),
        ),
        states(
            "Alerts that fired",
            "",
            Query(
                'sum by (alertname, lab, host, experiment, system) (ALERTS{alertstate="firing"})',
                "{{alertname}} {{lab}} {{host}} {{experiment}} {{system}}",
            ),
        ),
    )
    cost = (
        over_time(
            "CPU of the control plane",
            f"What watching and steering cost. {CPU}",
            "short",
            *_process("cpu_seconds_total", True),
            Query('sum(rate(transship_cpu_seconds_total{group="agent"}[5s]))', "host agents, all"),
            span=6,
        ),
        over_time(
            "Memory of the control plane",
            "Resident.",
            "bytes",
            *_process("resident_memory_bytes", False),
            span=6,
        ),
        over_time(
            "Requests to the orchestrator",
            "By status; the scrapes are among them.",
            "reqps",
            Query("sum by (status) (rate(transship_http_requests_total[5s]))", "{{status}}"),
            span=6,
        ),
        over_time(
            "Time of a scrape",
            "The slowest of each kind.",
            "s",
            Query('max by (job) (scrape_duration_seconds{job=~"transship-.*"})', "{{job}}"),
            span=6,
        ),
    )
    return board(
        "overview",
        "overview",
        "Labs, machines, health. docs/observe.md",
        (),
        (("Health", health), ("Labs", labs), ("What it costs", cost)),
    )
