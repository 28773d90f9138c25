"""The kinds of panels that the dashboards are made of, all alike where they need not differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders.barchart import Panel as BarChart
from grafana_foundation_sdk.builders.nodegraph import EdgeOptions, NodeOptions
from grafana_foundation_sdk.builders.nodegraph import Panel as NodeGraph
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.statetimeline import Panel as StateTimeline
from grafana_foundation_sdk.builders.table import Panel as Table
from grafana_foundation_sdk.builders.text import Panel as Text
from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery as AnyQuery
from grafana_foundation_sdk.models import dashboard
from grafana_foundation_sdk.models.common import (
    AxisPlacement,
    GraphDrawStyle,
    LegendDisplayMode,
    LegendPlacement,
    LineInterpolation,
    StackingMode,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat
from grafana_foundation_sdk.models.text import TextMode

DATASOURCE = dashboard.DataSourceRef(type_val="prometheus", uid="transship-prometheus")
"""As dashboards/grafana/provisioning/datasources/ names it."""
HEIGHT = 8
AnyPanel = Builder[dashboard.Panel]


@dataclass(frozen=True)
class Query:
    """A question to Prometheus, and what its series are called."""

    expr: str
    legend: str = "__auto"


class _Panel(Protocol):
    """What the builders of all panels with queries have in common."""

    def title(self, title: str) -> Self: ...
    def description(self, description: str) -> Self: ...
    def datasource(self, datasource: dashboard.DataSourceRef) -> Self: ...
    def height(self, h: int) -> Self: ...
    def span(self, w: int) -> Self: ...
    def with_target(self, target: Builder[AnyQuery]) -> Self: ...


P = TypeVar("P", bound=_Panel)


def _asking(panel: P, title: str, about: str, span: int, queries: tuple[Query, ...], instant: bool) -> P:
    panel.title(title).description(about).datasource(DATASOURCE).height(HEIGHT).span(span)
    for number, query in enumerate(queries):
        target = Dataquery().expr(" ".join(query.expr.split())).ref_id("ABCDEFGH"[number])
        target = target.datasource(DATASOURCE).legend_format(query.legend)
        panel.with_target(target.instant().format(PromQueryFormat.TABLE) if instant else target.range())
    return panel


def over_time(
    title: str, about: str, unit: str, *queries: Query, span: int = 12, stacked: bool = False
) -> TimeSeries:
    """Lines over time, or areas on top of each other."""
    panel = _asking(TimeSeries(), title, about, span, queries, False)
    tooltip = common_builders.VizTooltipOptions().mode(TooltipDisplayMode.MULTI)
    legend = common_builders.VizLegendOptions().show_legend(True)
    legend = legend.display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
    panel = panel.unit(unit).min(0).tooltip(tooltip).legend(legend).line_width(1).interval("1s")
    if stacked:
        stacking = common_builders.StackingConfig().mode(StackingMode.NORMAL).group("A")
        panel = panel.stacking(stacking).fill_opacity(40)
    return panel


def stepped(panel: TimeSeries, pattern: str, unit: str) -> TimeSeries:
    """Series with such a legend (/a pattern/) as steps on an axis of their own."""
    return panel.override_by_regexp(
        pattern,
        _config(
            {
                "custom.axisPlacement": AxisPlacement.RIGHT,
                "custom.lineInterpolation": LineInterpolation.STEP_AFTER,
                "custom.drawStyle": GraphDrawStyle.LINE,
                "custom.fillOpacity": 10,
                "unit": unit,
                "decimals": 0,
                "color": {"mode": "fixed", "fixedColor": "text"},
            }
        ),
    )


def dashed(panel: TimeSeries, pattern: str) -> TimeSeries:
    """Series with such a legend (/a pattern/) as dashes: what was not measured here."""
    dashes = {"custom.lineStyle": {"fill": "dash", "dash": [10, 10]}, "custom.lineWidth": 2}
    return panel.override_by_regexp(pattern, _config(dashes))


def number(title: str, about: str, unit: str, query: Query, span: int = 4) -> Stat:
    """The value now, large."""
    panel = _asking(Stat(), title, about, span, (), False).height(4).unit(unit)
    target = Dataquery().expr(query.expr).ref_id("A").datasource(DATASOURCE).legend_format(query.legend)
    return panel.with_target(target.instant())


def yes_or_no(panel: Stat, yes: str, no: str) -> Stat:
    """1 and 0 as words, green and red."""
    words = {"1": (yes, "green"), "0": (no, "red")}
    options = {
        value: dashboard.ValueMappingResult(text=text, color=color) for value, (text, color) in words.items()
    }
    return panel.mappings([dashboard.ValueMap(options=options)])


def states(title: str, about: str, *queries: Query, span: int = 12) -> StateTimeline:
    """In which state things were, over time."""
    return _asking(StateTimeline(), title, about, span, queries, False).interval("1s")


def rows(title: str, about: str, query: Query, names: Mapping[str, str], unit: str, span: int = 12) -> Table:
    """The series now, one a row. `names`: the labels shown and `Value`, in order, with their headings."""
    keep = {"include": {"names": list(names)}}
    order = {"indexByName": {name: at for at, name in enumerate(names)}, "renameByName": dict(names)}
    panel = _asking(Table(), title, about, span, (query,), True)
    panel = panel.with_transformation(_transformation("filterFieldsByName", keep))
    return panel.with_transformation(_transformation("organize", order)).override_by_name(
        names["Value"], _config({"unit": unit})
    )


def bars(
    title: str, about: str, unit: str, query: Query, across: str, beside: str, span: int = 24
) -> BarChart:
    """The series now: groups of bars by the label `across`, with a bar for each value of `beside`."""
    matrix = {"rowField": across, "columnField": beside, "valueField": "Value", "emptyValue": "null"}
    panel = _asking(BarChart(), title, about, span, (query,), True).unit(unit).min(0)
    by_name = {"fields": {}, "sort": [{"field": across}]}
    return panel.with_transformation(_transformation("sortBy", by_name)).with_transformation(
        _transformation("groupingToMatrix", matrix)
    )


def graph(title: str, about: str, unit: str, nodes: str, edges: str, span: int = 12) -> NodeGraph:
    """Nodes (series with the labels id, title and subtitle) and edges (id, source, target), with values."""
    panel = _asking(NodeGraph(), title, about, span, (Query(nodes), Query(edges)), True)
    panel = panel.nodes(NodeOptions().main_stat_unit(unit)).edges(EdgeOptions().main_stat_unit(unit))
    # The panel looks for a field of that name, and renaming would only change how it is shown.
    for ref in "AB":
        reduce = {"include": [f"Value #{ref}"], "reducer": "sum"}
        panel = panel.with_transformation(
            _transformation("calculateField", {"mode": "reduceRow", "alias": "mainstat", "reduce": reduce})
        )
    return panel


def words(content: str, span: int = 24, height: int = 3) -> Text:
    """Markdown."""
    return Text().mode(TextMode.MARKDOWN).content(content).span(span).height(height)


def _transformation(name: str, options: Mapping[str, Any]) -> dashboard.DataTransformerConfig:
    return dashboard.DataTransformerConfig(id_val=name, options=options)


def _config(values: Mapping[str, object]) -> list[dashboard.DynamicConfigValue]:
    return [dashboard.DynamicConfigValue(id_val=name, value=value) for name, value in values.items()]
