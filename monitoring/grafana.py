"""The dashboard as Grafana reads it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from string import ascii_uppercase
from typing import Final

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import dashboard as model

from monitoring.panels import ROWS, Figure, Graph, Query

FILE: Final = Path(__file__).parents[1] / "manifests" / "monitoring" / "dashboard.json"

_SOURCE: Final = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
_RECIPES: Final = "label_values(projectsetup_attempt_duration_seconds_count, recipe)"


def render() -> str:
    """The JSON of the dashboard."""
    board = (
        dashboard.Dashboard("ProjectSetup")
        .uid("projectsetup")
        .description("Setups, their queue, their recipes and the operator. Made by `python -m monitoring dashboard`.")
        .tags(["projectsetup"])
        .time("now-6h", "now")
        .refresh("30s")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(
            dashboard.QueryVariable("recipe")
            .label("Recipe")
            .datasource(_SOURCE)
            .query(_RECIPES)
            .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .include_all(True)
            .all_value(".*")
            .multi(True)
            .current(model.VariableOption(text="All", value="$__all"))
        )
    )
    for row in ROWS:
        board = board.with_row(dashboard.Row(row.title))
        for panel in row.panels:
            board = board.with_panel(_graph(panel) if isinstance(panel, Graph) else _figure(panel))
    return JSONEncoder(sort_keys=True, indent=2).encode(board.build()) + "\n"


def _figure(figure: Figure) -> stat.Panel:
    panel = (
        stat.Panel()
        .title(figure.title)
        .description(figure.description)
        .datasource(_SOURCE)
        .unit(figure.unit)
        .height(4)
        .span(4)
        .graph_mode(shapes.BigValueGraphMode.NONE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    )
    if figure.steps:
        steps = [model.Threshold(value=value or None, color=color) for value, color in figure.steps]
        absolute = model.ThresholdsMode.ABSOLUTE
        panel = panel.thresholds(dashboard.ThresholdsConfig().mode(absolute).steps(steps))
    if figure.words:
        options = {value: model.ValueMappingResult(text=word) for value, word in figure.words}
        panel = panel.mappings([model.ValueMap(options=options)])
    for target in _targets(figure.query):
        panel = panel.with_target(target.instant())
    return panel


def _graph(graph: Graph) -> timeseries.Panel:
    panel = (
        timeseries.Panel()
        .title(graph.title)
        .description(graph.description)
        .datasource(_SOURCE)
        .unit(graph.unit)
        .min(0)
        .height(8)
        .span(8)
        .fill_opacity(30 if graph.stacked else 0)
        .show_points(shapes.VisibilityMode.NEVER)
        .tooltip(common.VizTooltipOptions().mode(shapes.TooltipDisplayMode.MULTI))
        .legend(
            common.VizLegendOptions()
            .show_legend(True)
            .display_mode(shapes.LegendDisplayMode.LIST)
            .placement(shapes.LegendPlacement.BOTTOM)
        )
    )
    if graph.stacked:
        panel = panel.stacking(common.StackingConfig().mode(shapes.StackingMode.NORMAL))
    for beginning, color in graph.colors.items():
        shades = model.DynamicConfigValue(id_val="color", value={"mode": "shades", "fixedColor": color})
        panel = panel.override_by_regexp(f"/^{beginning}/", [shades])
    for target in _targets(*graph.queries):
        panel = panel.with_target(target.range())
    return panel


def _targets(*queries: Query) -> Iterator[prometheus.Dataquery]:
    for letter, query in zip(ascii_uppercase, queries, strict=False):
        target = prometheus.Dataquery().ref_id(letter).expr(query.expression)
        yield target.legend_format(query.legend) if query.legend else target
