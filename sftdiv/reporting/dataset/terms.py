"""Numbers as people read them, and which metrics are shown first: the same in the terminal and on the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sftdiv.diversity.registry import METRICS

MISSING, MINUS = "\u2014", "\u2212"
ARROWS = {"high": "\u2191", "low": "\u2193", "neither": ""}
SIDE_NAMES = {"instruction": "instructions", "response": "responses", "both": "both as one text"}
UNIT_NAMES = {"macro_topic": "topics", "meso_tag": "tags", "micro_token": "mid-frequency tokens"}


def number(value: float | None, digits: int = 3) -> str:
    """So many significant digits, thousands separated, a true minus sign; a dash where there is none."""
    if value is None or value != value:
        return MISSING
    text = f"{value:#.{digits}g}"
    if "e+" in text or abs(value) >= 10 ** (digits - 1):
        text = f"{value:,.0f}"
    return text.rstrip(".").replace("-", MINUS)


def whole(value: float) -> str:
    """A count."""
    return f"{value:,.0f}"


def length(value: float) -> str:
    """A number of tokens, which may be a mean or a percentile."""
    return whole(value) if value >= 100 or float(value).is_integer() else f"{value:.1f}"


def large(value: float) -> str:
    """A count in words where it is long."""
    for size, name in ((1e9, "billion"), (1e6, "million")):
        if value >= size:
            return f"{value / size:.3g}\u00a0{name}"
    return whole(value)


def percent(share: float | None) -> str:
    """A share, never rounded to the 0 % or 100 % that it is not."""
    if share is None or share != share:
        return MISSING
    for edge, told in ((0.001, "< 0.1\u00a0%"), (1.0, "> 99.9\u00a0%")):
        if 0 < share < edge and (edge == 0.001 or share > 0.999):
            return told
    return f"{100 * share:.1f}\u00a0%" if 0 < share < 0.995 else f"{100 * share:.3g}\u00a0%"


def signed(value: float | None, digits: int = 2) -> str:
    """A difference, with its sign."""
    return number(value, digits) if value is None or value != value or value < 0 else f"+{number(value, digits)}"


def spread(low: float | None, high: float | None, digits: int = 2) -> str:
    """An interval."""
    return MISSING if low is None or high is None or low != low else f"[{signed(low, digits)}, {signed(high, digits)}]"


def headline(columns: Iterable[str], catalogue: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The first column of each family, in the order given; the rest are its variants."""
    first: dict[str, str] = {}
    for name in columns:
        first.setdefault(catalogue[name]["family"] if name in catalogue else name, name)
    return list(first.values())


def moves_with(metric: Mapping[str, Any]) -> str:
    """What a metric moves with beside diversity, as two letters: ``N`` the number of texts, ``L`` their length."""
    declared = METRICS.get(metric["name"])  # None for a metric registered only where the dataset was measured
    length = declared is not None and declared.moves_with_length
    return ("N" if metric["growth"] != "stays" else "") + ("L" if length else "")


def readable(tokens: Iterable[str]) -> str:
    """Tokens as a text to look at: the marks with which tokenizers write spaces and continuations are taken away."""
    text = " ".join(tokens)
    for mark, meant in ((" ##", ""), ("\u0120", ""), ("\u2581", ""), ("\u010a", "\u21b5")):
        text = text.replace(mark, meant)
    return text
