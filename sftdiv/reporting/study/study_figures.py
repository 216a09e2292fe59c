"""The static figures of a study, in matplotlib, for papers.

The output is ``matplotlib.figure.Figure`` objects, and png and svg files of them. Only the object
interface is used, so drawing changes no global state and needs no display. Equal input gives equal
bytes. The font is matplotlib's own, which is available everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sftdiv.analysis.analysis import Analysis
from sftdiv.analysis.variants import SEPARATOR
from sftdiv.reporting.figure_io import figure_bytes
from sftdiv.reporting.study.selector_figure import selector_differences
from sftdiv.reporting.study.study_views import (
    BASELINES,
    PREDICTORS,
    Panel,
    baselines_in,
    fitted_line,
    panels,
    performance_range,
    score_name,
)
from sftdiv.reporting.study.summary_figures import LOOK, controlled_slopes, metric_correlations, overlap
from sftdiv.reporting.styles import GREY, Style, styles
from sftdiv.storage.files import write_atomically
from sftdiv.storage.validate import check_one_of

BASELINE_LINES: dict[str, Any] = {"random": ":", "full": "-.", "base": (0, (8, 3))}


def drawable_figures(analysis: Analysis) -> dict[str, Callable[[Analysis], Figure]]:
    """The figures that the study has data for, by name, each as the function that draws it."""
    figures: dict[str, tuple[bool, Callable[[Analysis], Figure]]] = {
        "performance_by_level": (not analysis.slopes.empty, performance_by_level),
        "metric_correlations": (not analysis.correlations.empty, metric_correlations),
        "controlled_slopes": (not analysis.slopes.empty, controlled_slopes),
        "overlap": (bool(analysis.overlaps), overlap),
        "selector_differences": (bool(analysis.selectors["difference"].notna().any()), selector_differences),
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
            write_atomically(folder / f"{name}.{kind}", figure_bytes(figure, kind, look=LOOK))
            written.append(folder / f"{name}.{kind}")
            figure.set_layout_engine("none")  # the second file uses the layout of the first
    return written


def performance_by_level(analysis: Analysis, *, predictor: str = "level") -> Figure:
    """Figure 3 of the paper: points, fitted line and 1-sigma band; one panel per side and setting.

    Args:
        analysis: Analysis of the study.
        predictor: Predictor on the x axis, a key of ``study_views.PREDICTORS``.
    """
    shown = panels(analysis)
    settings, sides = list(dict.fromkeys(panel.setting for panel in shown)), sorted({panel.side for panel in shown})
    looks = styles(analysis.slopes["strategy"])
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(0.6 + 3.4 * len(sides), 0.8 + 2.5 * len(settings)), layout="constrained")
        axes = figure.subplots(len(settings), len(sides), squeeze=False)
        for panel in shown:
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
        columns = 3 if len(sides) > 1 else 2
        handles = _legend_handles(shown, looks)
        figure.legend(handles=handles, loc="outside upper left", ncols=columns, fontsize=8, handlelength=3.2)
    return figure


def _legend_handles(shown: Sequence[Panel], looks: Mapping[str, Style]) -> list[Line2D]:
    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, linestyle=look.line, label=name)
        for name, look in looks.items()
    ]
    kinds = [kind for kind in BASELINES if any((panel.baselines["kind"] == kind).any() for panel in shown)]
    handles += [Line2D([], [], color=GREY, linestyle=BASELINE_LINES[kind], label=BASELINES[kind]) for kind in kinds]
    return handles


def _draw_panel(axis: Any, panel: Panel, looks: dict[str, Style], predictor: str, span: tuple[float, float]) -> None:
    """Draw the cells, lines, bands and baselines of one panel."""
    for row in panel.slopes[panel.slopes["predictor"] == predictor].to_dict("records"):
        cells = panel.cells[panel.cells["ladder"] == row["ladder"]].dropna(subset=[predictor, "performance"])
        look, line = looks[row["strategy"]], fitted_line(cells, predictor)
        marker: dict[str, Any] = {"s": 16, "color": look.colour, "marker": look.marker, "alpha": 0.75}
        axis.scatter(cells[predictor], cells["performance"], linewidths=0, zorder=3, **marker)
        if line is not None:
            axis.plot(line.x, line.mean, color=look.colour, linestyle=look.line, linewidth=1.5, zorder=4)
            axis.fill_between(line.x, line.low, line.high, color=look.colour, alpha=0.15, linewidth=0, zorder=2)
    inside, outside = baselines_in(panel, span)
    for row in inside.to_dict("records"):
        axis.axhline(row["performance"], color=GREY, linewidth=1, linestyle=BASELINE_LINES[row["kind"]], zorder=1)
    for above in (True, False):
        labels = "\n".join(text for is_above, text in outside if is_above == above)
        anchor: dict[str, Any] = {"y": 0.98 if above else 0.02, "verticalalignment": "top" if above else "bottom"}
        anchor |= {"x": 0.99, "horizontalalignment": "right", "transform": axis.transAxes}
        axis.text(s=labels, fontsize=7, color=GREY, **anchor)
    axis.set_ylim(*span)
