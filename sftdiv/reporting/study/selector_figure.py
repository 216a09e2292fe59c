"""The figure that compares selectors: their differences to random draws with 95 % intervals, in matplotlib."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from sftdiv.analysis.analysis import Analysis
from sftdiv.reporting.study.score_unit import score_unit
from sftdiv.reporting.study.study_views import control_label
from sftdiv.reporting.study.summary_figures import LOOK, forest_axis
from sftdiv.reporting.styles import styles


def selector_differences(analysis: Analysis) -> Figure:
    """One row per selector, one marker per kind of matching, ordered by the difference of the first kind.

    Filled markers have p < 0.05 after Holm's correction. Selectors without an interval have a marker alone.
    """
    table, unit = analysis.selectors, score_unit(analysis)
    table = table[table["difference"].notna()]
    table = table.assign(control=[control_label(row) for _, row in table.iterrows()])
    names, kinds = list(dict.fromkeys(table["selector"])), list(dict.fromkeys(table["control"]))
    looks, step = styles(kinds), 0.6 / len(kinds)
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(6.4, 1.1 + max(0.3, 0.16 * len(kinds)) * len(names)), layout="constrained")
        axis = figure.subplots()
        for position, kind in enumerate(kinds):
            rows, look = table[table["control"] == kind], looks[kind]
            heights = np.array([names.index(name) for name in rows["selector"]]) - 0.3 + step * (position + 0.5)
            axis.hlines(heights, unit.times * rows["low"], unit.times * rows["high"], color=look.colour, linewidth=1.6)
            fill = [look.colour if p < 0.05 else "white" for p in rows["p_holm"]]
            axis.scatter(
                unit.times * rows["difference"],
                heights,
                s=26,
                c=fill,
                marker=look.marker,
                edgecolors=look.colour,
                linewidths=1.4,
                zorder=3,
            )
            axis.scatter([], [], s=26, color=look.colour, marker=look.marker, label=kind)
        forest_axis(axis, names)
        axis.set_xlabel(f"score less that of random draws, {unit.name}, 95 % interval")
        title = {"title": "filled: p < 0.05 (Holm)", "title_fontsize": 8, "alignment": "left"}
        figure.legend(loc="outside upper left", ncols=3, fontsize=8, **title)
    return figure
