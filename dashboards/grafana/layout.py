"""What every dashboard has: variables, links to the others, annotations, rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    VariableRefresh,
    VariableSort,
)

from dashboards.grafana.panels import DATASOURCE, AnyPanel

TAG = "transship"
"""Of the dashboards, and of the annotations that the orchestrator writes."""
COLOURS = {"run": "blue", "change": "purple", "fault": "red"}
"""Of annotations, by their other tag."""


def variable(name: str, query: str, several: bool = False) -> builders.QueryVariable:
    """A choice of a label's values within the dashboard's time."""
    made = builders.QueryVariable(name).label(name).datasource(DATASOURCE)
    made = made.query({"query": query, "refId": name, "qryType": 1})
    made = made.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).sort(VariableSort.ALPHABETICAL_ASC)
    return made.multi(several).include_all(several)


def lab(several: bool = False) -> builders.QueryVariable:
    """The labs that are or were deployed."""
    return variable("lab", "label_values(transship_network_up, lab)", several)


def host(metric: str = 'transship_host_agent_state{lab=~"$lab"}') -> builders.QueryVariable:
    """The hosts of the chosen labs that have this metric."""
    return variable("host", f"label_values({metric}, host)", True)


def system() -> builders.QueryVariable:
    """The I/O systems that were at work in the chosen labs."""
    query = 'label_values(transship_bytes_total{lab=~"$lab", workload!="manager"}, system)'
    return variable("system", query, True)


def run() -> builders.QueryVariable:
    """The runs that were under way, the last first: their ids begin with the time."""
    made = variable("run", "label_values(transship_run_info, run)")
    return made.sort(VariableSort.ALPHABETICAL_DESC)


def board(
    name: str,
    title: str,
    about: str,
    variables: Iterable[builders.QueryVariable],
    rows: Sequence[tuple[str, Sequence[AnyPanel]]],
) -> builders.Dashboard:
    """A dashboard: rows of panels, each row under its title."""
    made = builders.Dashboard(f"Transship: {title}").uid(f"transship-{name}").description(about)
    made = made.tags([TAG]).time("now-15m", "now").refresh("5s").editable()
    made = made.tooltip(DashboardCursorSync.CROSSHAIR)
    links = builders.DashboardLink("Transship").type(DashboardLinkType.DASHBOARDS).tags([TAG])
    made = made.link(links.as_dropdown(True).include_vars(True).keep_time(True))
    for one in variables:
        made = made.with_variable(one)
    for kind, colour in COLOURS.items():
        made = made.annotation(_annotations(kind, colour))
    number = 0
    for heading, panels in rows:
        made = made.with_row(builders.Row(heading).id(number := number + 1))
        for panel in panels:
            panel.id(number := number + 1)  # type: ignore[attr-defined]  # of every panel's builder
            made = made.with_panel(panel)
    return made


def _annotations(kind: str, colour: str) -> builders.AnnotationQuery:
    wanted = builders.AnnotationTarget().type("tags").tags([TAG, kind]).match_any(False).limit(500)
    source = DataSourceRef(type_val="grafana", uid="-- Grafana --")
    made = builders.AnnotationQuery().name(f"{kind}s").datasource(source).enable(True)
    return made.icon_color(colour).target(wanted)
