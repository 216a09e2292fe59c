"""Colours, markers and line styles, the same in every figure.

The looks can be told apart by colour-blind people and in black and white. They follow the
alphabetical order of the names, so that a new strategy needs no entry in a list.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

OKABE_ITO = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
)  # Okabe & Ito, "Color universal design" (2008)
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_SYMBOLS = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x")
_DASHES = ("solid", "dash", "dashdot", "dot", "longdash", "longdashdot", "solid")
_LINES: tuple[str | tuple[int, tuple[int, ...]], ...] = ("-", "--", "-.", ":", (0, (8, 3)), (0, (8, 3, 2, 3)), "-")
INK, GREY, PALE = "#1f2430", "#6b7280", "#e5e7eb"


@dataclass(frozen=True)
class Style:
    """One look in both plotting libraries.

    ``marker`` and ``line`` are matplotlib's, ``symbol`` and ``dash`` plotly's.
    """

    colour: str
    marker: str
    line: str | tuple[int, tuple[int, ...]]
    symbol: str
    dash: str


def styles(names: Iterable[str]) -> dict[str, Style]:
    """A style for each distinct name, by alphabetical order; after seven names the looks repeat."""
    looks = [Style(*look) for look in zip(OKABE_ITO, _MARKERS, _LINES, _SYMBOLS, _DASHES, strict=True)]
    return {name: looks[position % len(looks)] for position, name in enumerate(sorted(set(names)))}


def translucent(colour: str, opacity: float) -> str:
    """A hexadecimal colour as CSS ``rgba``."""
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity:g})"
