"""The figures for papers, in matplotlib: performance by level, metric correlations, controlled slopes, overlap.

In: an ``Analysis``. Out: ``matplotlib.figure.Figure`` objects, and png and svg files of them. Only
the object interface is used, so that drawing changes no global state and needs no display; equal
input gives equal bytes. The trade: matplotlib's own font, found everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sftdiv.analysis.analysis import Analysis
from sftdiv.analysis.variants import SEPARATOR
from sftdiv.reporting.figure_io import figure_bytes
from sftdiv.reporting.format import format_number, format_share
from sftdiv.reporting.study.study_views import (
    BASELINES,
    PREDICTORS,
    Panel,
    baselines_in,
    controls,
    fitted_line,
    panels,
    performance_range,
    score_name,
)
from sftdiv.reporting.styles import GREY, INK, PALE, Style, styles
from sftdiv.storage.files import write_atomically
from sftdiv.storage.validate import check_one_of

BASELINE_LINES: dict[str, Any] = {"random": ":", "full": "-.", "base": (0, (8, 3))}
LOOK = {
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.axisbelow": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 9,
    "grid.color": PALE,
    "legend.frameon": False,
    "svg.hashsalt": "sftdiv",  # else the ids in the file are random
    "text.color": INK,
    "text.parse_math": False,  # a name with dollar signs is a name
    "xtick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.color": GREY,
    "ytick.labelcolor": INK,
}


def drawable_figures(analysis: Analysis) -> dict[str, Callable[[Analysis], Figure]]:
    """The figures that the study has data for, by name, each as the function that draws it."""
    figures: dict[str, tuple[bool, Callable[[Analysis], Figure]]] = {
        "performance_by_level": (not analysis.slopes.empty, performance_by_level),
        "metric_correlations": (not analysis.correlations.empty, metric_correlations),
        "controlled_slopes": (not analysis.slopes.empty, controlled_slopes),
        "overlap": (bool(analysis.overlaps), overlap),
    }
    return {name: draw for name, (has_data, draw) in figures.items() if has_data}


def draw_figure(analysis: Analysis, name: str) -> Figure:
    """Draw one figure.

    Raises:
        SftdivError: There is no such figure, or the study has no data for it.
    """
    figures = drawable_figures(analysis)
    check_one_of("figure", name, tuple(figures))
    return figures[name](analysis)


def write_figures(analysis: Analysis, folder: Path) -> list[Path]:
    """Draw every figure that the study has data for into ``folder``, each as PNG (200 dpi) and SVG.

    Returns:
        The files.
    """
    written = []
    for name, draw in drawable_figures(analysis).items():
        figure = draw(analysis)
        for kind in ("png", "svg"):
            write_atomically(folder / f"{name}.{kind}", render(figure, kind))
            written.append(folder / f"{name}.{kind}")
            figure.set_layout_engine("none")  # the layout of the first drawing holds for the second too
    return written


def render(figure: Figure, kind: str) -> bytes:
    """The content of a png or svg file of the figure."""
    return figure_bytes(figure, kind, look=LOOK)


def performance_by_level(analysis: Analysis, *, predictor: str = "level") -> Figure:
    """Figure 3 of the paper: points, fitted line and 1-sigma band, one colour a strategy, one panel a side and setting.

    Args:
        analysis: Of the study.
        predictor: What is drawn along x, a key of ``views.PREDICTORS``.
    """
    found = panels(analysis)
    settings, sides = list(dict.fromkeys(panel.setting for panel in found)), sorted({panel.side for panel in found})
    looks = styles(analysis.slopes["strategy"])
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(0.6 + 3.4 * len(sides), 0.8 + 2.5 * len(settings)), layout="constrained")
        axes = figure.subplots(len(settings), len(sides), squeeze=False)
        for panel in found:
            axis = axes[settings.index(panel.setting)][sides.index(panel.side)]
            _draw_panel(axis, panel, looks, predictor, performance_range(analysis, panel.model))
        for row, setting in enumerate(settings):
            axes[row][0].set_ylabel(score_name(analysis))
            for column, side in enumerate(sides):
                if not axes[row][column].has_data():
                    axes[row][column].set_axis_off()
                axes[row][column].set_title(f"{side}{SEPARATOR}{setting}", fontsize=9, loc="left")
        for axis in axes[-1]:
            axis.set_xlabel(PREDICTORS[predictor])
        handles = [
            Line2D([], [], color=look.colour, marker=look.marker, linestyle=look.line, label=name)
            for name, look in looks.items()
        ]
        kinds = [kind for kind in BASELINES if any((panel.baselines["kind"] == kind).any() for panel in found)]
        handles += [Line2D([], [], color=GREY, linestyle=BASELINE_LINES[kind], label=BASELINES[kind]) for kind in kinds]
        figure.legend(
            handles=handles, loc="outside upper left", ncols=3 if len(sides) > 1 else 2, fontsize=8, handlelength=3.2
        )
    return figure


def _draw_panel(axis: Any, panel: Panel, looks: dict[str, Style], predictor: str, span: tuple[float, float]) -> None:
    for row in panel.slopes[panel.slopes["predictor"] == predictor].to_dict("records"):
        own = panel.cells[panel.cells["ladder"] == row["ladder"]].dropna(subset=[predictor, "performance"])
        look, line = looks[row["strategy"]], fitted_line(own, predictor)
        axis.scatter(
            own[predictor],
            own["performance"],
            s=16,
            color=look.colour,
            marker=look.marker,
            alpha=0.75,
            linewidths=0,
            zorder=3,
        )
        if line is not None:
            axis.plot(line.x, line.mean, color=look.colour, linestyle=look.line, linewidth=1.5, zorder=4)
            axis.fill_between(line.x, line.low, line.high, color=look.colour, alpha=0.15, linewidth=0, zorder=2)
    inside, outside = baselines_in(panel, span)
    for row in inside.to_dict("records"):
        axis.axhline(row["performance"], color=GREY, linewidth=1, linestyle=BASELINE_LINES[row["kind"]], zorder=1)
    for above in (True, False):
        told = "\n".join(text for is_above, text in outside if is_above == above)
        place: dict[str, Any] = {"y": 0.98 if above else 0.02, "verticalalignment": "top" if above else "bottom"}
        axis.text(
            x=0.99, s=told, transform=axis.transAxes, horizontalalignment="right", fontsize=7, color=GREY, **place
        )
    axis.set_ylim(*span)


def metric_correlations(analysis: Analysis, *, scope: str | None = None) -> Figure:
    """Figure 4 of the paper: Pearson correlation of each metric with performance and its 95 % interval; filled where q < 0.05.

    Args:
        analysis: Of the study.
        scope: Which cells, one of ``correlations["scope"]``; None for the first, which is the widest.
    """
    scope = scope or str(analysis.correlations["scope"].iloc[0])
    table = analysis.correlations[analysis.correlations["scope"] == scope]
    metrics, looks = list(dict.fromkeys(table["metric"])), styles(table["side"])
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(6.4, 1.3 + 0.36 * len(metrics)), layout="constrained")
        axis = figure.subplots()
        for position, (side, look) in enumerate(looks.items()):
            rows = table[(table["side"] == side) & table["pearson"].notna()]
            heights = np.array([metrics.index(metric) for metric in rows["metric"]]) + 0.28 * (
                position - (len(looks) - 1) / 2
            )
            axis.hlines(heights, rows["pearson_low"], rows["pearson_high"], color=look.colour, linewidth=1.6)
            fill = [look.colour if q < 0.05 else "white" for q in rows["q"]]
            edge: dict[str, Any] = {"edgecolors": look.colour, "linewidths": 1.5}
            axis.scatter(rows["pearson"], heights, s=34, c=fill, marker=look.marker, zorder=3, **edge)
        _forest_axis(axis, [metric.replace("_", " ") for metric in metrics])
        axis.set_xlim(-1.02, 1.02)
        axis.set_xlabel(f"Pearson correlation with performance, 95 % interval (scope: {scope})")
        handles = [Line2D([], [], color=look.colour, marker=look.marker, label=side) for side, look in looks.items()]
        title = {"title": "filled: q < 0.05 (Benjamini-Hochberg)", "title_fontsize": 8, "alignment": "left"}
        figure.legend(handles=handles, loc="outside upper left", ncols=2, fontsize=8, **title)
    return figure


def controlled_slopes(analysis: Analysis) -> Figure:
    """The raw slope against the level beside the controlled ones, each with one posterior standard deviation either way."""
    table = controls(analysis)
    groups, names, looks = (
        list(dict.fromkeys(table["group"])),
        list(dict.fromkeys(table["control"])),
        styles(table["control"]),
    )
    step = 0.7 / len(names)
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(6.4, 1.2 + max(0.45, 0.13 * len(looks)) * len(groups)), layout="constrained")
        axis = figure.subplots()
        for position, name in enumerate(names):
            look, rows = looks[name], table[(table["control"] == name) & table["slope"].notna()]
            heights = np.array([groups.index(group) for group in rows["group"]]) - 0.35 + step * (position + 0.5)
            axis.hlines(
                heights,
                100 * (rows["slope"] - rows["sd"]),
                100 * (rows["slope"] + rows["sd"]),
                color=look.colour,
                linewidth=1.6,
            )
            axis.scatter(
                100 * rows["slope"], heights, s=22, color=look.colour, marker=look.marker, zorder=3, label=name
            )
        _forest_axis(axis, groups)
        axis.set_xlabel("slope of performance on level \u00d7 10\u207b\u00b2, \u00b1 1 posterior sd")
        figure.legend(loc="outside upper left", ncols=3, fontsize=8)
    return figure


def _forest_axis(axis: Any, labels: list[str]) -> None:
    """Rows from top to bottom with a line at zero."""
    axis.set_yticks(range(len(labels)), labels)
    axis.set_ylim(len(labels) - 0.5, -0.5)
    axis.tick_params(axis="y", length=0)
    axis.grid(visible=False, axis="y")
    axis.axvline(0, color=INK, linewidth=0.8, zorder=1)


def overlap(analysis: Analysis) -> Figure:
    """Mean Jaccard overlap of the subsets of each ladder, levels by levels; the diagonal is between seeds of one level."""
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
    values = matrix.to_numpy(dtype=float)
    image = axis.imshow(values, vmin=0, vmax=1, cmap="Blues")
    for (row, column), value in np.ndenumerate(values):
        if not math.isnan(value):
            axis.text(
                column,
                row,
                format_share(value),
                ha="center",
                va="center",
                fontsize=6,
                color="white" if value > 0.6 else INK,
            )
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
