"""The figures of a dataset report: token frequency against rank with the three bands, and text lengths.

The input is the content of ``measure.json``. The output is ``matplotlib.figure.Figure`` objects,
and their bytes as png, or as svg that takes its colours from the page, so that one drawing serves
light and dark mode. Only the object interface is used. Equal input gives equal bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from sftdiv.reporting.dataset.terms import SIDE_NAMES
from sftdiv.reporting.figure_io import LOOK as BASE
from sftdiv.reporting.figure_io import figure_bytes
from sftdiv.reporting.format import format_count, format_percent
from sftdiv.reporting.styles import GREY, INK, PALE

ONE, OTHER = "#0072b2", "#d55e00"  # Okabe & Ito (2008)
CSS_VARIABLES = {INK: "ink", GREY: "grey", PALE: "line", ONE: "one", OTHER: "other"}
STYLES = ({"color": ONE, "linestyle": "-"}, {"color": OTHER, "linestyle": "--"})
LOOK = {**BASE, "svg.fonttype": "none"}
Datasets = Sequence[Mapping[str, Any]]


def draw_token_bands(datasets: Datasets) -> Figure:
    """Figure 2 of the paper (arXiv 2505.24768): frequency against rank, logarithmic, with the mid band shaded."""
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
            axis.set_ylim(0.7, _top(datasets))
            _name_bands(axis, bands)
            axis.set_title(SIDE_NAMES[side], fontsize=10, loc="left")
            axis.set_xlabel("rank of the token")
            for direction in (axis.xaxis, axis.yaxis):
                direction.set_major_formatter(lambda value, _: f"{value:,.0f}")
        figure.axes[0].set_ylabel("frequency of the token")
        if len(datasets) > 1:
            figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=2, fontsize=9)
    return figure


def _top(datasets: Datasets) -> float:
    """Upper end of the frequencies, which both sides share: above every curve of every dataset, and above the bands."""
    bands = [dataset["sides"][side]["bands"] for dataset in datasets for side in ("instruction", "response")]
    return 2 * max(max([item["high"] * 10, *(frequency for _, frequency in item["curve"])]) for item in bands)


def _name_bands(axis: Any, bands: Mapping[str, Any]) -> None:
    """Write name, number of types and share of tokens into each band, beside the falling curve."""
    corners = {
        "frequent": (0.985, 1.0, "right", "top"),
        "mid": (0.015, bands["low"] * 1.15, "left", "bottom"),
        "rare": (0.015, 0.8, "left", "bottom"),
    }
    for name, (x, y, horizontal, vertical) in corners.items():
        label = f"{name}\n{format_count(bands[name]['types'])} types\n{format_percent(bands[name]['share'])} of tokens"
        transform = axis.transAxes if name == "frequent" else axis.get_yaxis_transform()
        axis.text(x, y, label, transform=transform, ha=horizontal, va=vertical, fontsize=8, linespacing=1.35)


def draw_lengths(datasets: Datasets) -> Figure:
    """Histogram of text lengths in tokens, in bins that grow by the square root of two."""
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(8.6, 2.9), layout="constrained")
        for axis, side in zip(figure.subplots(1, 2), ("instruction", "response"), strict=True):
            for dataset, style in zip(datasets, STYLES, strict=False):
                histogram = dataset["sides"][side]["length"]["histogram"]
                shares = np.array(histogram["texts"]) / max(sum(histogram["texts"]), 1)
                edges = np.maximum(histogram["edges"], 0.5)
                fill = style["color"] == ONE
                axis.stairs(100 * shares, edges, fill=fill, alpha=0.25 if fill else 1, color=style["color"])
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
    """The figure as an svg element of full width, with CSS variables as colours, prefixed ids and the page's font."""
    svg = render(figure, "svg").decode("utf-8")
    svg = svg[svg.index("<svg") :]
    for colour, variable in CSS_VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable})")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    opened = r'<svg xmlns:xlink="http://www.w3.org/1999/xlink" aria-hidden="true" \1>'
    return re.sub(r'<svg [^>]*?(viewBox="[^"]+")[^>]*>', opened, svg, count=1)
