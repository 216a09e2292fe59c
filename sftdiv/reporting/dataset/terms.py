"""Names of sides, units and directions, and the metrics shown first: the same in the terminal and on the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sftdiv.diversity.registry import METRICS

ARROWS = {"high": "\u2191", "low": "\u2193", "neither": ""}
SIDE_NAMES = {"instruction": "instructions", "response": "responses", "both": "both as one text"}
UNIT_NAMES = {"macro_topic": "topics", "meso_tag": "tags", "micro_token": "mid-frequency tokens"}


def headline(columns: Iterable[str], catalogue: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The first column of each family, in the order given; the rest are its variants."""
    first: dict[str, str] = {}
    for name in columns:
        first.setdefault(catalogue[name]["family"] if name in catalogue else name, name)
    return list(first.values())


def moves_with(metric: Mapping[str, Any]) -> str:
    """What a metric moves with beside diversity, as two letters: ``N`` the number of texts, ``L`` their length."""
    declared = METRICS.get(metric["name"])  # None for a metric registered only where the dataset was measured
    moves_with_length = declared is not None and declared.moves_with_length
    return ("N" if metric["growth"] != "stays" else "") + ("L" if moves_with_length else "")


def readable(tokens: Iterable[str]) -> str:
    """Tokens as a text to look at: the marks with which tokenizers write spaces and continuations are taken away."""
    text = " ".join(tokens)
    for mark, meant in ((" ##", ""), ("\u0120", ""), ("\u2581", ""), ("\u010a", "\u21b5")):
        text = text.replace(mark, meant)
    return text
