"""Sequence length: not a diversity metric, but reported with them (the paper's largest correlation is with it)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sftdiv.diversity.metric import metric
from sftdiv.diversity.text_set import TextSet
from sftdiv.records import TokenIds

PERCENTILES = (5, 25, 50, 75, 95)


@metric(
    "length",
    {"length": "Mean length (tokens)"},
    direction="neither",
    needs="tokens",
    growth="stays",
    paper=["length"],
    order=3,
)
def _measure_mean(texts: TextSet) -> float:
    return mean_length(texts.token_ids)


@metric(
    "length_percentiles",
    {f"length_p{p:02d}": f"Length, {p}th percentile (tokens)" for p in PERCENTILES},
    direction="neither",
    needs="tokens",
    growth="stays",
    order=8,
)
def _measure_percentiles(texts: TextSet) -> list[float]:
    return length_percentiles(texts.token_ids)


def mean_length(token_ids: TokenIds) -> float:
    """Mean number of tokens per text; NaN for no text. O(texts); it does not depend on the size of the set."""
    return float(token_ids.lengths().mean()) if len(token_ids.lengths()) else float("nan")


def length_percentiles(token_ids: TokenIds, *, percentiles: Sequence[float] = PERCENTILES) -> list[float]:
    """Percentiles of the number of tokens per text, interpolated linearly; NaN for no text. O(texts log texts)."""
    lengths = token_ids.lengths()
    if not len(lengths):
        return [float("nan")] * len(percentiles)
    return [float(value) for value in np.percentile(lengths, percentiles)]
