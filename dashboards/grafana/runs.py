"""Runs: how far they are, their trials and what these say, and whether they count."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.grafana import layout
from dashboards.grafana.panels import Query, number, over_time, rows

RUN = 'run="$run"'
BY = "sum by (experiment, system, validity)"


def dashboard() -> Dashboard:
    """The dashboard."""
    now = (
        number(
            "Trials done", "Of the run chosen.", "short", Query(_last("transship_run_trials_done"), "done")
        ),
        number("Trials planned", "", "short", Query(_last("transship_run_trials_planned"), "planned")),
        number(
            "Time left", "As the run estimates it.", "s", Query(_last("transship_run_left_seconds"), "left")
        ),
        number("Valid trials", "Of all runs of the orchestrator.", "percentunit", Query(_valid(), "valid")),
        over_time(
            "Runs by state",
            "All in the store.",
            "short",
            Query("sum by (state) (transship_runs) > 0", "{{state}}"),
            span=8,
        ),
    )
    trials = (
        over_time(
            "Trials by validity",
            "Since the orchestrator started.",
            "short",
            Query(f"{BY} (transship_trials_total)", "{{experiment}}, {{system}}: {{validity}}"),
        ),
        over_time(
            "Books that did not balance",
            "Trials in which a datagram vanished without a name, since the orchestrator started.",
            "short",
            Query("sum by (experiment) (transship_books_unbalanced_total)", "{{experiment}}"),
        ),
        over_time(
            "Progress",
            "Trials done and planned: an experiment with `until`, or a search, plans as it goes.",
            "short",
            Query(f"transship_run_trials_done{{{RUN}}}", "done"),
            Query(f"transship_run_trials_planned{{{RUN}}}", "planned"),
            span=24,
        ),
    )
    results = (
        over_time(
            "Medians and 95 % intervals",
            "Of the valid trials so far, as the run itself will report them (docs/method.md).",
            "bps",
            Query(
                f"8 * transship_result_bytes_per_second{{{RUN}}}", "{{system}}, {{factors}}: {{statistic}}"
            ),
        ),
        over_time(
            "Width of the intervals",
            "As a part of the median: how well the number is known so far.",
            "percentunit",
            Query(
                f'(transship_result_bytes_per_second{{{RUN}, statistic="high"}} - on (run, system, factors) '
                f'transship_result_bytes_per_second{{{RUN}, statistic="low"}}) / on (run, system, factors) '
                f'(transship_result_bytes_per_second{{{RUN}, statistic="median"}} > 0)',
                "{{system}}, {{factors}}",
            ),
        ),
        rows(
            "Results",
            "Medians of the valid trials.",
            Query("8 * " + _last("transship_result_bytes_per_second", ', statistic="median"')),
            {"system": "system", "factors": "factors", "Value": "median"},
            "bps",
        ),
        rows(
            "Valid trials",
            "How many the medians are of.",
            Query(_last("transship_result_trials")),
            {"system": "system", "factors": "factors", "Value": "valid trials"},
            "short",
        ),
    )
    return layout.board(
        "runs",
        "runs",
        "Runs, trials, intervals, validity. docs/observe.md",
        (layout.run(),),
        (("Now", now), ("Trials", trials), ("Results", results)),
    )


def _last(metric: str, more: str = "") -> str:
    return f"last_over_time({metric}{{{RUN}{more}}}[$__range])"


def _valid() -> str:
    return 'sum(transship_trials_total{validity="valid"}) / sum(transship_trials_total)'
