"""The performance panels of the study page, in plotly: hovering over a point shows its cell.

The output is small responsive figures (without a width), one per panel, for a page or a notebook.
Separate figures reflow on a narrow screen, unlike subplots. All text from data is escaped, because
plotly interprets a subset of HTML.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from html import escape
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from sftdiv.analysis.series import LADDER_SEED
from sftdiv.reporting.format import format_number, format_signed
from sftdiv.reporting.study.plotly_look import TEMPLATE
from sftdiv.reporting.study.score_unit import ScoreUnit
from sftdiv.reporting.study.study_views import BASELINES, PREDICTORS, Panel, baselines_in, fitted_line
from sftdiv.reporting.styles import GREY, Style, translucent

BASELINE_DASHES = {"random": "dot", "full": "dashdot", "base": "longdash"}


def performance(
    panel: Panel,
    looks: dict[str, Style],
    *,
    predictor: str,
    span: tuple[float, float],
    primary: str,
    unit: ScoreUnit,
    link: Callable[[str], str],
) -> go.Figure:
    """One panel of figure 3 of the paper: performance of every cell, fitted lines with pointwise 68 % bands, baselines.

    Args:
        panel: Ladders to draw.
        looks: Style of each strategy.
        predictor: Predictor on the x axis, a key of ``PREDICTORS``.
        span: Limits of the performance axis.
        primary: Name of the score.
        unit: Unit of the slopes in the hover texts.
        link: Maps the name of a cell to the address of its folder, which a click on its point opens.
    """
    figure = go.Figure()
    for _, slope in panel.slopes[panel.slopes["predictor"] == predictor].iterrows():
        _add_ladder(figure, slope, panel.cells, looks[slope["strategy"]], unit, link)
    _add_baselines(figure, panel, predictor, span)
    figure.update_layout(
        template=TEMPLATE,
        height=320,
        showlegend=False,
        hovermode="closest",
        xaxis={"title": {"text": PREDICTORS[predictor]}},
        yaxis={"title": {"text": escape(primary)}, "range": list(span)},
    )
    return figure


def _add_ladder(
    figure: go.Figure,
    slope: pd.Series,
    cells: pd.DataFrame,
    look: Style,
    unit: ScoreUnit,
    link: Callable[[str], str],
) -> None:
    predictor = str(slope["predictor"])
    points = cells[cells["ladder"] == slope["ladder"]].dropna(subset=[predictor, "performance"])
    points = points.sort_values([predictor, "seed", "cell"])
    name = escape(str(slope["strategy"]))
    line = fitted_line(points, predictor)
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
        value, se = (unit.times * slope[column] for column in ("slope", "slope_se"))
        estimate = f"{format_signed(value, unit.decimals)} ± {format_number(se, 3)}"
        line_look = {"color": look.colour, "dash": look.dash, "width": 2}
        figure.add_scatter(
            x=list(line.x),
            y=list(line.mean),
            mode="lines",
            line=line_look,
            name=name,
            hovertemplate=f"{name}: slope {estimate} ({escape(unit.name)})<extra></extra>",
        )
    marker = {
        "color": look.colour,
        "symbol": look.symbol,
        "size": 8,
        "opacity": 0.85,
        "line": {"color": "white", "width": 1},
    }
    figure.add_scatter(
        x=points[predictor].tolist(),
        y=points["performance"].tolist(),
        mode="markers",
        name=name,
        marker=marker,
        customdata=[[describe_cell(cell), link(str(cell["cell"]))] for cell in points.to_dict("records")],
        hovertemplate="%{customdata[0]}<extra></extra>",
    )


def describe_cell(cell: dict[Hashable, Any]) -> str:
    """The hover text of a cell, in plotly's HTML: name, score, settings and sizes."""
    error = cell.get(f"score.{cell['primary']}.stderr")
    score = format_number(cell["performance"], 3) + ("" if pd.isna(error) else f" ± {format_number(error, 2)}")
    level, seed = format_number(cell["level"], 3), format_number(cell["seed"], 3)
    ladder = cell.get(LADDER_SEED)
    if not pd.isna(ladder):
        seed += f", ladder {ladder:.0f}"
    k, subset = "", f"{format_number(cell['n'], 3)} examples"
    if not pd.isna(cell["k_asked"]):  # selected by a ladder
        k = f", k {format_number(cell['k_asked'], 3)} of {format_number(cell['k_max'], 3)}"
        subset += f" from a pool of {format_number(cell.get('pool'), 3)}"
    facts = {
        "performance": score,
        "level": f"{level}{k}, seed {seed}",
        "subset": subset,
        "unit entropy": f"{format_number(cell.get('unit_entropy'), 3)} bit",
        "response": f"{format_number(cell.get('diversity.response.length'), 3)} tokens on average",
        "trained on": f"{format_number(cell.get('train.label_tokens'), 3)} label tokens",
    }
    lines = [f"{name}: {text}" for name, text in facts.items()]
    return "<br>".join([f"<b>{escape(str(cell['cell']))}</b>", *lines, "<i>click: open its folder</i>"])


def _add_baselines(figure: go.Figure, panel: Panel, predictor: str, span: tuple[float, float]) -> None:
    """Horizontal lines with hover text at their ends; baselines outside the axis are named at its edge."""
    inside, outside = baselines_in(panel, span)
    x = panel.cells[predictor].dropna()
    margin = 0.05 * ((x.max() - x.min()) or 1.0)
    edges = [float(x.min() - margin), float(x.max() + margin)] if len(x) else [0.0, 1.0]
    for row in inside.to_dict("records"):
        value = float(row["performance"])
        universe = "" if row["kind"] == "base" else f", universe of {escape(str(row['universe_of']))}"
        text = f"{BASELINES[row['kind']]}{universe}: {format_number(value, 3)}<extra></extra>"
        look = {"color": GREY, "width": 1.2, "dash": BASELINE_DASHES[row["kind"]]}
        figure.add_scatter(x=edges, y=[value, value], mode="lines", line=look, hovertemplate=text, name=row["kind"])
    for above in (True, False):
        labels = "<br>".join(text for is_above, text in outside if is_above == above)
        if labels:
            anchor = {
                "x": 0.99,
                "xanchor": "right",
                "y": 0.99 if above else 0.01,
                "yanchor": "top" if above else "bottom",
            }
            font = {"size": 11, "color": GREY}
            figure.add_annotation(
                text=labels, xref="paper", yref="paper", showarrow=False, align="right", font=font, **anchor
            )
    figure.update_layout(xaxis={"range": edges})
