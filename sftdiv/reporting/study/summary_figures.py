"""The static summary figures of a study, in matplotlib: metric correlations, controlled slopes, overlap of subsets."""

from __future__ import annotations

import math
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sftdiv.analysis.analysis import Analysis
from sftdiv.analysis.variants import SEPARATOR
from sftdiv.reporting.figure_io import LOOK as BASE
from sftdiv.reporting.format import format_number, format_share
from sftdiv.reporting.study.score_unit import score_unit
from sftdiv.reporting.study.study_views import controls
from sftdiv.reporting.styles import INK, PALE, styles

LOOK = {**BASE, "axes.axisbelow": True, "axes.grid": True, "grid.color": PALE}


def metric_correlations(analysis: Analysis, *, scope: str | None = None) -> Figure:
    """Figure 4 of the paper: Pearson correlation of each metric with performance, with 95 % interval.

    Markers are filled where q < 0.05.

    Args:
        analysis: Analysis of the study.
        scope: Value of ``correlations["scope"]``; None for the first, which is the widest.
    """
    scope = scope or str(analysis.correlations["scope"].iloc[0])
    table = analysis.correlations[analysis.correlations["scope"] == scope]
    metrics, looks = list(dict.fromkeys(table["metric"])), styles(table["side"])
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(6.4, 1.3 + 0.36 * len(metrics)), layout="constrained")
        axis = figure.subplots()
        for position, (side, look) in enumerate(looks.items()):
            rows = table[(table["side"] == side) & table["pearson"].notna()]
            shift = 0.28 * (position - (len(looks) - 1) / 2)
            heights = np.array([metrics.index(metric) for metric in rows["metric"]]) + shift
            axis.hlines(heights, rows["pearson_low"], rows["pearson_high"], color=look.colour, linewidth=1.6)
            fill = [look.colour if q < 0.05 else "white" for q in rows["q"]]
            edge: dict[str, Any] = {"edgecolors": look.colour, "linewidths": 1.5}
            axis.scatter(rows["pearson"], heights, s=34, c=fill, marker=look.marker, zorder=3, **edge)
        forest_axis(axis, [metric.replace("_", " ") for metric in metrics])
        axis.set_xlim(-1.02, 1.02)
        axis.set_xlabel(f"Pearson correlation with performance, 95 % interval (scope: {scope})")
        handles = [Line2D([], [], color=look.colour, marker=look.marker, label=side) for side, look in looks.items()]
        title = {"title": "filled: q < 0.05 (Benjamini-Hochberg)", "title_fontsize": 8, "alignment": "left"}
        figure.legend(handles=handles, loc="outside upper left", ncols=2, fontsize=8, **title)
    return figure


def controlled_slopes(analysis: Analysis) -> Figure:
    """The raw slope on the level beside the controlled ones, each ± one standard error."""
    table, unit = controls(analysis), score_unit(analysis)
    groups, names = list(dict.fromkeys(table["group"])), list(dict.fromkeys(table["control"]))
    looks = styles(table["control"])
    step = 0.7 / len(names)
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(6.4, 1.2 + max(0.45, 0.13 * len(looks)) * len(groups)), layout="constrained")
        axis = figure.subplots()
        for position, name in enumerate(names):
            look, rows = looks[name], table[(table["control"] == name) & table["slope"].notna()]
            heights = np.array([groups.index(group) for group in rows["group"]]) - 0.35 + step * (position + 0.5)
            low, high = unit.times * (rows["slope"] - rows["se"]), unit.times * (rows["slope"] + rows["se"])
            axis.hlines(heights, low, high, color=look.colour, linewidth=1.6)
            marker: dict[str, Any] = {"s": 22, "color": look.colour, "marker": look.marker}
            axis.scatter(unit.times * rows["slope"], heights, zorder=3, label=name, **marker)
        forest_axis(axis, groups)
        axis.set_xlabel(f"slope of performance on level, {unit.name}, \u00b1 1 standard error")
        figure.legend(loc="outside upper left", ncols=3, fontsize=8)
    return figure


def forest_axis(axis: Any, labels: list[str]) -> None:
    """Set the axes of a forest plot: rows from top to bottom, a line at zero."""
    axis.set_yticks(range(len(labels)), labels)
    axis.set_ylim(len(labels) - 0.5, -0.5)
    axis.tick_params(axis="y", length=0)
    axis.grid(visible=False, axis="y")
    axis.axvline(0, color=INK, linewidth=0.8, zorder=1)


def overlap(analysis: Analysis) -> Figure:
    """Mean Jaccard overlap between the subsets of each two levels, by ladder; the diagonal is between seeds."""
    columns = min(3, len(analysis.overlaps))
    rows = math.ceil(len(analysis.overlaps) / columns)
    with mpl.rc_context(LOOK | {"axes.grid": False}):
        figure = Figure(figsize=(0.5 + 2.9 * columns, 2.9 * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for axis, (label, matrix) in zip(axes, analysis.overlaps.items(), strict=False):
            image = _draw_overlap(axis, matrix)
            axis.set_title(_wrapped(label), fontsize=7.5, loc="left")
        for axis in axes[len(analysis.overlaps) :]:
            axis.set_axis_off()
        figure.supxlabel("diversity level", fontsize=8)
        figure.colorbar(image, ax=axes.tolist(), shrink=min(1.0, 1.6 / rows), label="Jaccard overlap", aspect=30)
    return figure


def _draw_overlap(axis: Any, matrix: pd.DataFrame) -> Any:
    """Draw one heat map; returns the image for the colour bar."""
    values = matrix.to_numpy(dtype=float)
    image = axis.imshow(values, vmin=0, vmax=1, cmap="Blues")
    for (row, column), value in np.ndenumerate(values):
        if not math.isnan(value):
            colour = "white" if value > 0.6 else INK
            axis.text(column, row, format_share(value), ha="center", va="center", fontsize=6, color=colour)
    names = [format_number(float(level), 2) for level in matrix.columns]
    axis.set_xticks(range(len(names)), names, fontsize=7)
    axis.set_yticks(range(len(names)), names, fontsize=7)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    return image


def _wrapped(label: str) -> str:
    """A ladder's label on two lines, strategy and side on the first."""
    parts = label.split(SEPARATOR)
    return SEPARATOR.join(parts[:2]) + "\n" + SEPARATOR.join(parts[2:])
