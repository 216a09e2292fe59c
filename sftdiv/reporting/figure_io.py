"""Matplotlib figures: common parameters, and files without a date, so that equal figures give equal bytes."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from sftdiv.reporting.styles import GREY, INK

LOOK = {
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 9,
    "legend.frameon": False,
    "svg.hashsalt": "sftdiv",  # otherwise the ids in the file are random
    "text.color": INK,
    "text.parse_math": False,  # names may contain dollar signs
    "xtick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.color": GREY,
    "ytick.labelcolor": INK,
}


def figure_bytes(figure: Figure, kind: str, *, look: Mapping[str, Any], transparent: bool = False) -> bytes:
    """A figure as the content of a file.

    Args:
        figure: Figure to draw.
        kind: ``png`` (200 dpi) or ``svg``.
        look: Matplotlib parameters while drawing; the global ones are not changed.
        transparent: Whether the background is transparent.
    """
    metadata = {"Date": None} if kind == "svg" else None
    stream = BytesIO()
    with mpl.rc_context(dict(look)):
        figure.savefig(stream, format=kind, dpi=200, metadata=metadata, transparent=transparent)
    return stream.getvalue()
