"""Names of sides, units and directions, and the metrics shown first: the same in the terminal and on the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sftdiv.diversity.registry import METRICS

ARROWS = {"high": "\u2191", "low": "\u2193", "neither": ""}
SIDE_NAMES = {"instruction": "instructions", "response": "responses", "both": "both as one text"}
UNIT_NAMES = {"macro_topic": "topics", "meso_tag": "tags", "micro_token": "mid-frequency tokens"}


def headline(columns: Iterable[str], catalogue: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The first column of each family, in the given order; the others are its variants."""
    first: dict[str, str] = {}
    for name in columns:
        first.setdefault(catalogue[name]["family"] if name in catalogue else name, name)
    return list(first.values())


def depends_on(metric: Mapping[str, Any]) -> str:
    """What a metric depends on besides the diversity of the set, as letters.

    ``N``: the number of texts. ``L``: their length. ``T``: measured in each text by itself, so that it does not see
    that texts repeat.
    """
    declared = METRICS.get(metric["name"])  # None for a metric registered only where the dataset was measured
    with_length = declared is not None and declared.moves_with_length
    within = declared is not None and declared.within_texts
    return ("N" if metric["growth"] != "stays" else "") + ("L" if with_length else "") + ("T" if within else "")


def readable(tokens: Iterable[str]) -> str:
    """Tokens as readable text, without the tokenizers' marks of spaces and continuations."""
    text = " ".join(tokens)
    for mark, replacement in ((" ##", ""), ("\u0120", ""), ("\u2581", ""), ("\u010a", "\u21b5")):
        text = text.replace(mark, replacement)
    return text
