"""Numbers as text, the same in every table, page, figure and terminal.

All functions take full-precision numbers and return text with thousands separated and a true minus
sign. A missing value (None or NaN) is an em dash everywhere.
"""

from __future__ import annotations

import math

MINUS, MISSING = "\u2212", "\u2014"
HUNDREDTHS = "\u00d7\u00a010\u207b\u00b2"  # unit of slopes, as in the paper; the space does not break


def is_missing(value: object) -> bool:
    """Whether a value is None or NaN."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def format_number(value: float | None, digits: int = 4, *, padded: bool = False, plus: bool = False) -> str:
    """A number with significant digits; integers and numbers of ``digits`` or more integer digits have no decimals.

    Args:
        value: Number, or None.
        digits: Significant digits.
        padded: Whether trailing zeros stay, so that a column of measurements lines up.
        plus: Whether numbers of at least zero have a plus sign.
    """
    if value is None or math.isnan(value):
        return MISSING
    text = f"{value:#,.{digits}g}" if padded else f"{value:,.{digits}g}"
    if "e+" in text or abs(value) >= 10 ** (digits - 1) or (float(value).is_integer() and not padded):
        text = f"{value:,.0f}"
    return ("+" if plus and value >= 0 else "") + text.rstrip(".").replace("-", MINUS)


def format_decimals(value: float | None, decimals: int = 2) -> str:
    """A number with a fixed number of decimals, so that a column of them lines up."""
    return MISSING if value is None or math.isnan(value) else f"{value:.{decimals}f}".replace("-", MINUS)


def format_signed(value: float | None, decimals: int = 2) -> str:
    """A number with its sign and a fixed number of decimals."""
    return MISSING if value is None or math.isnan(value) else f"{value:+.{decimals}f}".replace("-", MINUS)


def format_interval(low: float | None, high: float | None, decimals: int = 2) -> str:
    """An interval as ``[low, high]`` with signs."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return MISSING
    return f"[{format_signed(low, decimals)},\u00a0{format_signed(high, decimals)}]"  # the space does not break


def format_share(value: float | None) -> str:
    """A probability or share with two decimals; values near 0 and 1 are not rounded to them."""
    if value is None or math.isnan(value):
        return MISSING
    if 0.995 <= value < 1:
        return "> 0.99"
    return "< 0.01" if 0 < value < 0.005 else f"{value:.2f}"


def format_percent(share: float | None) -> str:
    """A share in percent; values near 0 % and 100 % are not rounded to them."""
    if share is None or math.isnan(share):
        return MISSING
    if 0 < share < 0.001:
        return "< 0.1\u00a0%"
    if 0.999 < share < 1:
        return "> 99.9\u00a0%"
    return f"{100 * share:.1f}\u00a0%" if 0 < share < 0.995 else f"{100 * share:.3g}\u00a0%"


def format_count(value: float) -> str:
    """A count, rounded to an integer."""
    return f"{value:,.0f}"


def format_large_count(value: float) -> str:
    """A count, in millions or billions where it is that large."""
    for size, name in ((1e9, "billion"), (1e6, "million")):
        if value >= size:
            return f"{value / size:.3g}\u00a0{name}"
    return format_count(value)


def format_length(tokens: float) -> str:
    """A number of tokens, which may be a mean or a percentile: one decimal below 100, unless it is an integer."""
    return format_count(tokens) if tokens >= 100 or float(tokens).is_integer() else f"{tokens:.1f}"


def format_duration(seconds: float) -> str:
    """A duration with its unit: seconds, minutes or hours."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
