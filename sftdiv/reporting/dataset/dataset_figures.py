"""The figures of a report: token frequency against rank with the three bands, and the lengths of the texts.

In: what was measured. Out: ``matplotlib.figure.Figure`` objects, and their bytes as png, or as svg
that takes its colours from the page, so that one drawing serves light and dark. Only the object
interface is used; equal input gives equal bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from sftdiv.reporting.dataset.terms import SIDE_NAMES
from sftdiv.reporting.figure_io import figure_bytes
from sftdiv.reporting.format import format_count, format_percent

INK, GREY, PALE, ONE, OTHER = "#1f2430", "#6b7280", "#e5e7eb", "#0072b2", "#d55e00"  # the last two: Okabe & Ito (2008)
VARIABLES = {INK: "ink", GREY: "grey", PALE: "line", ONE: "one", OTHER: "other"}
STYLES = ({"color": ONE, "linestyle": "-"}, {"color": OTHER, "linestyle": "--"})
LOOK = {
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 9,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "sftdiv",  # else the ids in the file are random
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.color": GREY,
    "ytick.labelcolor": INK,
}
Datasets = Sequence[Mapping[str, Any]]


def draw_token_bands(datasets: Datasets) -> Figure:
    """Figure 2 of the paper (arXiv 2505.24768): occurrences against rank, both axes logarithmic, the mid-frequency band shaded."""
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(8.6, 3.7), layout="constrained")
        for axis, side in zip(figure.subplots(1, 2, sharey=True), ("instruction", "response"), strict=True):
            bands = datasets[0]["sides"][side]["bands"]
            axis.set_xscale("log")
            axis.set_yscale("log")
            axis.axhspan(bands["low"], bands["high"], color=ONE, alpha=0.12, linewidth=0)
            for dataset, style in zip(datasets, STYLES, strict=False):
                curve = np.array(dataset["sides"][side]["bands"]["curve"]).reshape(-1, 2)
                axis.plot(curve[:, 0], curve[:, 1], linewidth=1.8, label=dataset["name"], **style)
            _name_bands(axis, bands)
            axis.set_title(SIDE_NAMES[side], fontsize=10, loc="left")
            axis.set_xlabel("rank of the token")
            for direction in (axis.xaxis, axis.yaxis):
                direction.set_major_formatter(lambda value, _: f"{value:,.0f}")
        figure.axes[0].set_ylabel("frequency of the token")
        if len(datasets) > 1:
            figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=2, fontsize=9)
    return figure


def _name_bands(axis: Any, bands: Mapping[str, Any]) -> None:
    """Name, types and share of the text of each band, where the falling curve leaves room in it."""
    axis.set_ylim(0.7, 2 * max([bands["high"] * 10, *(frequency for _, frequency in bands["curve"])]))
    corners = {
        "frequent": (0.985, 1.0, "right", "top"),
        "mid": (0.015, bands["low"] * 1.15, "left", "bottom"),
        "rare": (0.015, 0.8, "left", "bottom"),
    }
    for name, (x, y, horizontal, vertical) in corners.items():
        told = f"{name}\n{format_count(bands[name]['types'])} types\n{format_percent(bands[name]['share'])} of tokens"
        transform = axis.transAxes if name == "frequent" else axis.get_yaxis_transform()
        axis.text(x, y, told, transform=transform, ha=horizontal, va=vertical, fontsize=8, linespacing=1.35)


def draw_lengths(datasets: Datasets) -> Figure:
    """Share of the texts by their number of tokens, in bins that grow by the square root of two."""
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(8.6, 2.9), layout="constrained")
        for axis, side in zip(figure.subplots(1, 2), ("instruction", "response"), strict=True):
            for dataset, style in zip(datasets, STYLES, strict=False):
                histogram = dataset["sides"][side]["length"]["histogram"]
                shares = np.array(histogram["texts"]) / max(sum(histogram["texts"]), 1)
                edges = np.maximum(histogram["edges"], 0.5)
                axis.stairs(
                    100 * shares,
                    edges,
                    fill=style["color"] == ONE,
                    alpha=0.25 if style["color"] == ONE else 1,
                    color=style["color"],
                )
                axis.stairs(100 * shares, edges, linewidth=1.6, label=dataset["name"], **style)
            axis.set_xscale("log", base=2)
            axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}" if value < 1024 else f"{value / 1024:g}k")
            axis.set_xlim(left=0.9)
            axis.set_title(SIDE_NAMES[side], fontsize=10, loc="left")
            axis.set_xlabel("tokens")
        figure.axes[0].set_ylabel("% of texts")
        if len(datasets) > 1:
            figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=2, fontsize=9)
    return figure


def render(figure: Figure, kind: str) -> bytes:
    """The content of a png or svg file of the figure; the background of svg is transparent."""
    return figure_bytes(figure, kind, look=LOOK, transparent=kind == "svg")


def inline_svg(figure: Figure, name: str) -> str:
    """The figure as an element of a page: colours by CSS variables, ids of its own, the page's font, as wide as there is room."""
    svg = render(figure, "svg").decode("utf-8")
    svg = svg[svg.index("<svg") :]
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable})")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    opened = r'<svg xmlns:xlink="http://www.w3.org/1999/xlink" aria-hidden="true" \1>'
    return re.sub(r'<svg [^>]*?(viewBox="[^"]+")[^>]*>', opened, svg, count=1)
