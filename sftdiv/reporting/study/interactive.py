"""The figures of the page, in plotly: the same panels as the static ones, and hovering over a point shows its cell.

In: an ``Analysis``, or one panel of it. Out: ``plotly.graph_objects.Figure``, small and responsive
(no width), for a page or a notebook. Every text that comes from data is escaped, because plotly
reads a part of HTML. The trade: one small figure a panel instead of one with subplots, so that
panels reflow on a narrow screen.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from html import escape
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from sftdiv.analysis.analysis import Analysis
from sftdiv.analysis.variants import SEPARATOR
from sftdiv.reporting.format import HUNDREDTHS, format_interval, format_number, format_share, format_signed
from sftdiv.reporting.study.study_views import BASELINES, PREDICTORS, Panel, baselines_in, controls, fitted_line
from sftdiv.reporting.styles import GREY, INK, PALE, Style, styles, translucent

BASELINE_DASHES = {"random": "dot", "full": "dashdot", "base": "longdash"}
_FONT = "system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', Arial, sans-serif"
_BLUES = [[0.0, "#f7fbff"], [0.25, "#d0e1f2"], [0.5, "#94c4df"], [0.75, "#4a98c9"], [1.0, "#08519c"]]
_AXIS = {
    "showline": True,
    "linecolor": GREY,
    "ticks": "outside",
    "tickcolor": GREY,
    "gridcolor": PALE,
    "zeroline": False,
    "automargin": True,
}
_TEMPLATE = go.layout.Template(
    layout={
        "font": {"family": _FONT, "size": 12, "color": INK},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "hoverlabel": {
            "align": "left",
            "bgcolor": "white",
            "bordercolor": GREY,
            "font": {"family": _FONT, "size": 12, "color": INK},
        },
        "xaxis": _AXIS,
        "yaxis": _AXIS,
    }
)


def performance(
    panel: Panel,
    looks: dict[str, Style],
    *,
    predictor: str,
    span: tuple[float, float],
    primary: str,
    link: Callable[[str], str],
) -> go.Figure:
    """Figure 3 of the paper, one panel: performance of every cell, the fitted line and its 1-sigma band, and the baselines.

    Args:
        panel: Which ladders.
        looks: A style for each strategy.
        predictor: What is drawn along x, a key of ``PREDICTORS``.
        span: Lower and upper end of the axis of performance.
        primary: Name of the score.
        link: Gives the address of a cell's folder from its name; a click on a point opens it.
    """
    figure = go.Figure()
    for _, slope in panel.slopes[panel.slopes["predictor"] == predictor].iterrows():
        _add_ladder(figure, slope, panel.cells, looks[slope["strategy"]], link)
    _add_baselines(figure, panel, predictor, span)
    figure.update_layout(
        template=_TEMPLATE,
        height=320,
        showlegend=False,
        hovermode="closest",
        xaxis={"title": {"text": PREDICTORS[predictor]}},
        yaxis={"title": {"text": escape(primary)}, "range": list(span)},
    )
    return figure


def _add_ladder(
    figure: go.Figure, slope: pd.Series, cells: pd.DataFrame, look: Style, link: Callable[[str], str]
) -> None:
    predictor = str(slope["predictor"])
    own = (
        cells[cells["ladder"] == slope["ladder"]]
        .dropna(subset=[predictor, "performance"])
        .sort_values([predictor, "seed", "cell"])
    )
    name = escape(str(slope["strategy"]))
    line = fitted_line(own, predictor)
    if line is not None:
        outline = [*line.x, *line.x[::-1]], [*line.high, *line.low[::-1]]
        figure.add_scatter(
            x=outline[0],
            y=outline[1],
            fill="toself",
            fillcolor=translucent(look.colour, 0.15),
            mode="none",
            hoverinfo="skip",
            name=name,
        )
        said = f"{name}: slope {format_signed(100 * slope['slope'])} ± {format_number(100 * slope['slope_sd'], 3)} ({HUNDREDTHS})"
        line_look = {"color": look.colour, "dash": look.dash, "width": 2}
        figure.add_scatter(
            x=list(line.x),
            y=list(line.mean),
            mode="lines",
            line=line_look,
            name=name,
            hovertemplate=f"{said}<extra></extra>",
        )
    marker = {
        "color": look.colour,
        "symbol": look.symbol,
        "size": 8,
        "opacity": 0.85,
        "line": {"color": "white", "width": 1},
    }
    figure.add_scatter(
        x=own[predictor].tolist(),
        y=own["performance"].tolist(),
        mode="markers",
        name=name,
        marker=marker,
        customdata=[[describe_cell(cell), link(str(cell["cell"]))] for cell in own.to_dict("records")],
        hovertemplate="%{customdata[0]}<extra></extra>",
    )


def describe_cell(cell: dict[Hashable, Any]) -> str:
    """What hovering over a cell shows, as plotly's HTML: who it is, its settings, what it scored, where it is."""
    error = cell.get(f"score.{cell['primary']}.stderr")
    facts = [
        (
            "performance",
            format_number(cell["performance"], 3) + ("" if pd.isna(error) else f" ± {format_number(error, 2)}"),
        ),
        (
            "level",
            f"{format_number(cell['level'], 3)}, k {format_number(cell['k_asked'], 3)} of {format_number(cell['k_max'], 3)}, seed {format_number(cell['seed'], 3)}",
        ),
        ("subset", f"{format_number(cell['n'], 3)} examples from a pool of {format_number(cell.get('pool'), 3)}"),
        ("unit entropy", f"{format_number(cell.get('unit_entropy'), 3)} bit"),
        ("response", f"{format_number(cell.get('diversity.response.length'), 3)} tokens on average"),
        ("trained on", f"{format_number(cell.get('train.label_tokens'), 3)} label tokens"),
    ]
    lines = [
        f"<b>{escape(str(cell['cell']))}</b>",
        *(f"{name}: {text}" for name, text in facts),
        "<i>click: open its folder</i>",
    ]
    return "<br>".join(lines)


def _add_baselines(figure: go.Figure, panel: Panel, predictor: str, span: tuple[float, float]) -> None:
    """Horizontal lines from edge to edge, which answer hovering at their ends; one out of sight is named at the edge."""
    inside, outside = baselines_in(panel, span)
    x = panel.cells[predictor].dropna()
    margin = 0.05 * ((x.max() - x.min()) or 1.0)
    edges = [float(x.min() - margin), float(x.max() + margin)] if len(x) else [0.0, 1.0]
    for row in inside.to_dict("records"):
        value = float(row["performance"])
        whose = "" if row["kind"] == "base" else f", universe of {escape(str(row['universe_of']))}"
        said = f"{BASELINES[row['kind']]}{whose}: {format_number(value, 3)}<extra></extra>"
        look = {"color": GREY, "width": 1.2, "dash": BASELINE_DASHES[row["kind"]]}
        figure.add_scatter(x=edges, y=[value, value], mode="lines", line=look, hovertemplate=said, name=row["kind"])
    for above in (True, False):
        told = "<br>".join(text for is_above, text in outside if is_above == above)
        if told:
            place = {
                "x": 0.99,
                "y": 0.99 if above else 0.01,
                "xanchor": "right",
                "yanchor": "top" if above else "bottom",
            }
            looks = {"showarrow": False, "align": "right", "font": {"size": 11, "color": GREY}}
            figure.add_annotation(text=told, xref="paper", yref="paper", **looks, **place)
    figure.update_layout(xaxis={"range": edges})


def metric_correlations(table: pd.DataFrame) -> go.Figure:
    """Figure 4 of the paper: Pearson correlation of each diversity metric with performance, its 95 % interval, both sides.

    Args:
        table: The rows of ``Analysis.correlations`` of one scope. Filled markers stand for q < 0.05
            (Benjamini-Hochberg).
    """
    metrics = list(dict.fromkeys(table["metric"]))
    figure = go.Figure()
    looks = styles(["instruction", "response"])
    for side, shift in (("instruction", 0.14), ("response", -0.14)):
        rows = table[(table["side"] == side) & table["pearson"].notna()]
        look, sure = looks[side], rows["q"] < 0.05
        said = [
            f"<b>{escape(str(row['metric']))}, {side}</b>"
            f"<br>Pearson {format_signed(row['pearson'])} {format_interval(row['pearson_low'], row['pearson_high'])}"
            f"<br>Spearman {format_signed(row['spearman'])} {format_interval(row['spearman_low'], row['spearman_high'])}"
            f"<br>p {format_number(row['pearson_p'], 2)}, q {format_number(row['q'], 2)}, n {format_number(row['n'], 3)}"
            for row in rows.to_dict("records")
        ]
        whisker = {
            "type": "data",
            "symmetric": False,
            "array": (rows["pearson_high"] - rows["pearson"]).tolist(),
            "arrayminus": (rows["pearson"] - rows["pearson_low"]).tolist(),
            "width": 0,
            "thickness": 1.6,
        }
        fill = [look.colour if certain else "white" for certain in sure]
        marker = {"symbol": look.symbol, "size": 9, "color": fill, "line": {"color": look.colour, "width": 1.8}}
        figure.add_scatter(
            x=rows["pearson"].tolist(),
            y=[len(metrics) - 1 - metrics.index(metric) + shift for metric in rows["metric"]],
            mode="markers",
            name=side,
            marker=marker,
            error_x=whisker | {"color": look.colour},
            customdata=said,
            hovertemplate="%{customdata}<extra></extra>",
        )
    _forest_axes(figure, [escape(metric.replace("_", " ")) for metric in metrics], "Pearson correlation")
    figure.update_layout(xaxis={"range": [-1.02, 1.02], "fixedrange": True})
    return figure


def controlled_slopes(analysis: Analysis) -> go.Figure:
    """The raw slope against the level beside the controlled ones, with one posterior standard deviation each way, one row a group."""
    table = controls(analysis)
    groups, names = list(dict.fromkeys(table["group"])), list(dict.fromkeys(table["control"]))
    looks, figure = styles(names), go.Figure()
    step = 0.7 / max(len(names), 1)
    for position, name in enumerate(names):
        rows = table[(table["control"] == name) & table["slope"].notna()]
        look = looks[name]
        figure.add_scatter(
            x=(100 * rows["slope"]).tolist(),
            y=[len(groups) - 1 - groups.index(group) + 0.35 - step * (position + 0.5) for group in rows["group"]],
            mode="markers",
            name=escape(name),
            marker={"symbol": look.symbol, "size": 8, "color": look.colour},
            error_x={
                "type": "data",
                "array": (100 * rows["sd"]).tolist(),
                "color": look.colour,
                "width": 0,
                "thickness": 1.6,
            },
            customdata=[
                f"<b>{escape(group)}</b><br>{escape(name)}: {format_signed(100 * slope)} ± {format_number(100 * sd, 3)} ({HUNDREDTHS})"
                for group, slope, sd in zip(rows["group"], rows["slope"], rows["sd"], strict=True)
            ],
            hovertemplate="%{customdata}<extra></extra>",
        )
    _forest_axes(
        figure, [escape(group).replace(SEPARATOR, "<br>", 1) for group in groups], f"slope ({HUNDREDTHS}), ± 1 sd"
    )
    figure.update_layout(height=110 + max(46, 15 * len(names)) * len(groups))
    return figure


def _forest_axes(figure: go.Figure, labels: list[str], title: str) -> None:
    """Rows from top to bottom, a line at zero, the legend above."""
    ticks = {"tickvals": list(range(len(labels)))[::-1], "ticktext": labels, "range": [-0.6, len(labels) - 0.4]}
    figure.update_layout(
        template=_TEMPLATE,
        height=110 + 40 * len(labels),
        hovermode="closest",
        xaxis={"title": {"text": title}, "zeroline": True, "zerolinecolor": INK, "zerolinewidth": 1},
        yaxis=ticks | {"showgrid": False, "ticks": "", "fixedrange": True},
        legend={"orientation": "h", "x": 0, "xanchor": "left", "y": 1.01, "yanchor": "bottom", "yref": "paper"},
        margin={"t": 12},
    )


def overlap(matrix: pd.DataFrame) -> go.Figure:
    """Mean Jaccard overlap between the subsets of one ladder, levels by levels; the diagonal is between seeds of one level."""
    names = [format_number(float(level), 2) for level in matrix.columns]
    values = [[None if pd.isna(value) else float(value) for value in row] for row in matrix.to_numpy()]
    heat = go.Heatmap(
        z=values,
        x=names,
        y=names,
        zmin=0,
        zmax=1,
        colorscale=_BLUES,
        text=[["" if value is None else format_share(value) for value in row] for row in values],
        texttemplate="%{text}",
        hovertemplate="levels %{x} and %{y}: Jaccard %{z:.3f}<extra></extra>",
        showscale=False,
        xgap=1,
        ygap=1,
    )
    axis = {
        "type": "category",
        "showgrid": False,
        "title": {"text": "diversity level"},
        "ticks": "",
        "showline": False,
        "tickangle": 0,
    }
    figure = go.Figure(heat)
    figure.update_layout(template=_TEMPLATE, height=420, xaxis=axis, yaxis=axis | {"autorange": "reversed"})
    return figure
