"""Figure 6, live: systems side by side as hogs come and go, and what the paper published."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.grafana import layout, published
from dashboards.grafana.panels import Query, bars, dashed, over_time, stepped

HERE = 'lab=~"$lab", host=~"$host"'
SYSTEMS = f'{HERE}, system=~"$system"'
HOGS = f"sum(transship_hogs{{{HERE}}})"
PROFILE = "The paper's numbers are for its own rings: compare them with `period` runs of `fddi`."


def dashboard() -> Dashboard:
    """The dashboard."""
    moved = over_time(
        "What the forwarder moves",
        "Payload given out, by system, beside the hogs that it competes with. Dashed: what the paper has at "
        f"that many hogs. {PROFILE}",
        "bps",
        Query(f"sum by (system) (transship:forwarded_bits:rate5s{{{SYSTEMS}}})", "{{system}}"),
        Query(HOGS, "hogs"),
        *(Query(published.line(one, HOGS), published.PREFIX + one) for one in published.systems()),
        span=24,
    )
    results = (
        bars(
            "Medians of the run so far",
            f"Of its valid trials; the numbers that count are the run's own (docs/method.md). {PROFILE}",
            "bps",
            Query(_medians('system=~"$system"') + " or " + published.bars()),
            "factors",
            "system",
        ),
        bars(
            "Ratios of the medians",
            f"Of the run so far. {PROFILE}",
            "none",
            Query(" or ".join([*(_ratio(of, to) for of, to in published.FIGURE.ratios), published.ratios()])),
            "factors",
            "ratio",
        ),
    )
    why = (
        over_time(
            "Loss",
            "Of what was sent, by sequence numbers, by the forwarder's system.",
            "percentunit",
            Query('transship:loss:ratio_rate5s{lab=~"$lab", system=~"$system"}', "{{system}}"),
            span=8,
        ),
        over_time(
            "CPU per datagram",
            "CPU time of the I/O path, by the datagrams that it took in.",
            "s",
            Query(f"transship:cpu_seconds_per_datagram:ratio_rate5s{{{SYSTEMS}}}", "{{system}}"),
            span=8,
        ),
        over_time(
            "CPU of the host",
            "CPU seconds per second of the I/O path, the hogs and the host agent.",
            "short",
            Query(f"sum by (group) (rate(transship_cpu_seconds_total{{{HERE}}}[5s]))", "{{group}}"),
            span=8,
            stacked=True,
        ),
    )
    return layout.board(
        "fddi",
        "Figure 6 live",
        "UDP forwarding by a user-level process under CPU load. docs/observe.md",
        (
            layout.lab(),
            layout.host('transship_workloads{lab=~"$lab", workload="forwarder"}'),
            layout.system(),
            layout.run(),
        ),
        (
            ("As it happens", (stepped(dashed(moved, f"/^{published.PREFIX}/"), "/^hogs$/", "short"),)),
            ("Results", results),
            ("Why", why),
        ),
    )


def _medians(matcher: str) -> str:
    wanted = f'run="$run", statistic="median", {matcher}'
    last = f"last_over_time(transship_result_bytes_per_second{{{wanted}}}[$__range])"
    return f"8 * max by (system, factors) ({last})"


def _ratio(of: str, to: str) -> str:
    one, other = (_medians(f'system="{system}"') for system in (of, to))
    return f'label_replace({one} / on (factors) ({other}), "ratio", "{of} / {to}", "", "")'
