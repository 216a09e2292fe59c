"""How strategies, sides and numbers look, the same in every figure, table and page.

In: names and numbers. Out: colours, markers and dashes that stay apart for colour-blind people and
in black and white, and numbers as text. The trade: styles go by the alphabetical order of the names
at hand, so that a new strategy needs no list to extend.
"""

from __future__ import annotations

import math
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
MINUS, MISSING = "\u2212", "\u2014"
HUNDREDTHS = "\u00d7\u00a010\u207b\u00b2"  # the unit of slopes, as in the paper; the space does not break
INK, GREY, PALE = "#1f2430", "#6b7280", "#e5e7eb"


@dataclass(frozen=True)
class Style:
    """One look in both libraries: ``marker`` and ``line`` for matplotlib, ``symbol`` and ``dash`` for plotly."""

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


def missing(value: object) -> bool:
    """Whether there is nothing to show: None or NaN."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def number(value: float | None, digits: int = 3, *, padded: bool = False) -> str:
    """A number with ``digits`` significant digits, thousands separated, a true minus sign; a dash where there is none.

    Args:
        value: The number.
        digits: Significant digits.
        padded: Whether zeros at the end stay, so that a column of measurements lines up.
    """
    if value is None or missing(float(value)):
        return MISSING
    plain = f"{value:#.{digits}g}" if padded else f"{value:.{digits}g}"
    if "e+" in plain or abs(value) >= 10 ** (digits - 1) or (float(value).is_integer() and not padded):
        plain = f"{value:,.0f}"
    return plain.replace("-", MINUS)


def signed(value: float | None, decimals: int = 2) -> str:
    """A number with its sign and a fixed number of decimals, so that a column of them lines up."""
    if value is None or missing(float(value)):
        return MISSING
    return f"{value:+.{decimals}f}".replace("-", MINUS)


def interval(low: float | None, high: float | None, decimals: int = 2) -> str:
    """An interval as ``[low, high]`` with signs; a dash where there is none."""
    if low is None or high is None or missing(float(low)) or missing(float(high)):
        return MISSING
    return f"[{signed(low, decimals)},\u00a0{signed(high, decimals)}]"  # the space does not break


def share(value: float | None) -> str:
    """A probability or share with two decimals, never rounded to a certainty that it is not."""
    if value is None or missing(float(value)):
        return MISSING
    if 0.995 <= value < 1:
        return "> 0.99"
    return "< 0.01" if 0 < value < 0.005 else f"{value:.2f}"
