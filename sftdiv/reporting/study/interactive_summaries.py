"""The summary charts of the study page, in plotly: metric correlations, controlled slopes, overlap of subsets."""

from __future__ import annotations

from html import escape

import pandas as pd
import plotly.graph_objects as go

from sftdiv.analysis.analysis import Analysis
from sftdiv.analysis.variants import SEPARATOR
from sftdiv.reporting.format import format_interval, format_number, format_share, format_signed
from sftdiv.reporting.study.plotly_look import BLUES, TEMPLATE
from sftdiv.reporting.study.score_unit import ScoreUnit, score_unit
from sftdiv.reporting.study.study_views import controls
from sftdiv.reporting.styles import INK, styles


def metric_correlations(table: pd.DataFrame) -> go.Figure:
    """Figure 4 of the paper: Pearson correlation of each metric and side with performance, with 95 % interval.

    Args:
        table: Rows of ``Analysis.correlations`` of one scope. Markers are filled where q < 0.05
            (Benjamini-Hochberg).
    """
    metrics = list(dict.fromkeys(table["metric"]))
    figure = go.Figure()
    looks = styles(["instruction", "response"])
    for side, shift in (("instruction", 0.14), ("response", -0.14)):
        rows = table[(table["side"] == side) & table["pearson"].notna()]
        look = looks[side]
        texts = [_describe_correlation(row) for _, row in rows.iterrows()]
        whisker = {
            "type": "data",
            "symmetric": False,
            "array": (rows["pearson_high"] - rows["pearson"]).tolist(),
            "arrayminus": (rows["pearson"] - rows["pearson_low"]).tolist(),
            "width": 0,
            "thickness": 1.6,
        }
        fill = [look.colour if q < 0.05 else "white" for q in rows["q"]]
        marker = {"symbol": look.symbol, "size": 9, "color": fill, "line": {"color": look.colour, "width": 1.8}}
        figure.add_scatter(
            x=rows["pearson"].tolist(),
            y=[len(metrics) - 1 - metrics.index(metric) + shift for metric in rows["metric"]],
            mode="markers",
            name=side,
            marker=marker,
            error_x=whisker | {"color": look.colour},
            customdata=texts,
            hovertemplate="%{customdata}<extra></extra>",
        )
    forest_axes(figure, [escape(metric.replace("_", " ")) for metric in metrics], "Pearson correlation")
    figure.update_layout(xaxis={"range": [-1.02, 1.02], "fixedrange": True})
    return figure


def _describe_correlation(row: pd.Series) -> str:
    """The hover text of a correlation, in plotly's HTML."""
    pearson = f"{format_signed(row['pearson'])} {format_interval(row['pearson_low'], row['pearson_high'])}"
    spearman = f"{format_signed(row['spearman'])} (p {format_number(row['spearman_p'], 2)})"
    p, q, n = format_number(row["pearson_p"], 2), format_number(row["q"], 2), format_number(row["n"], 3)
    lines = [f"<b>{escape(str(row['metric']))}, {row['side']}</b>", f"Pearson {pearson}", f"Spearman {spearman}"]
    return "<br>".join([*lines, f"p {p}, q {q}, n {n}"])


def controlled_slopes(analysis: Analysis) -> go.Figure:
    """The raw slope on the level beside the controlled ones, each ± one standard error, by group."""
    table, unit = controls(analysis), score_unit(analysis)
    groups, names = list(dict.fromkeys(table["group"])), list(dict.fromkeys(table["control"]))
    looks, figure = styles(names), go.Figure()
    step = 0.7 / max(len(names), 1)
    for position, name in enumerate(names):
        rows = table[(table["control"] == name) & table["slope"].notna()]
        look = looks[name]
        figure.add_scatter(
            x=(unit.times * rows["slope"]).tolist(),
            y=[len(groups) - 1 - groups.index(group) + 0.35 - step * (position + 0.5) for group in rows["group"]],
            mode="markers",
            name=escape(name),
            marker={"symbol": look.symbol, "size": 8, "color": look.colour},
            error_x={
                "type": "data",
                "array": (unit.times * rows["se"]).tolist(),
                "color": look.colour,
                "width": 0,
                "thickness": 1.6,
            },
            customdata=[_describe_slope(row, unit) for _, row in rows.iterrows()],
            hovertemplate="%{customdata}<extra></extra>",
        )
    forest_axes(
        figure,
        [escape(group).replace(SEPARATOR, "<br>", 1) for group in groups],
        f"slope ({escape(unit.name)}), ± 1 standard error",
    )
    figure.update_layout(height=110 + max(46, 15 * len(names)) * len(groups))
    return figure


def _describe_slope(row: pd.Series, unit: ScoreUnit) -> str:
    """The hover text of a controlled slope, in plotly's HTML."""
    slope, se = (unit.times * row[name] for name in ("slope", "se"))
    estimate = f"{format_signed(slope, unit.decimals)} ± {format_number(se, 3)} ({escape(unit.name)})"
    return f"<b>{escape(row['group'])}</b><br>{escape(row['control'])}: {estimate}"


def forest_axes(figure: go.Figure, labels: list[str], title: str) -> None:
    """Set the axes of a forest plot: rows from top to bottom, a line at zero, the legend above."""
    ticks = {"tickvals": list(range(len(labels)))[::-1], "ticktext": labels, "range": [-0.6, len(labels) - 0.4]}
    figure.update_layout(
        template=TEMPLATE,
        height=110 + 40 * len(labels),
        hovermode="closest",
        xaxis={"title": {"text": title}, "zeroline": True, "zerolinecolor": INK, "zerolinewidth": 1},
        yaxis=ticks | {"showgrid": False, "ticks": "", "fixedrange": True},
        legend={"orientation": "h", "x": 0, "xanchor": "left", "y": 1.01, "yanchor": "bottom", "yref": "paper"},
        margin={"t": 12},
    )


def overlap(matrix: pd.DataFrame) -> go.Figure:
    """Mean Jaccard overlap between the subsets of each two levels; the diagonal is between seeds of one level."""
    names = [format_number(float(level), 2) for level in matrix.columns]
    values = [[None if pd.isna(value) else float(value) for value in row] for row in matrix.to_numpy()]
    heat = go.Heatmap(
        z=values,
        x=names,
        y=names,
        zmin=0,
        zmax=1,
        colorscale=BLUES,
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
    figure.update_layout(template=TEMPLATE, height=420, xaxis=axis, yaxis=axis | {"autorange": "reversed"})
    return figure
