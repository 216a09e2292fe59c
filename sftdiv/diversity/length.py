"""Sequence length: not diversity, but the companion that is reported beside it (the paper's largest correlation is with it)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sftdiv.records import TokenIds

PERCENTILES = (5, 25, 50, 75, 95)


def mean_length(token_ids: TokenIds) -> float:
    """Mean number of tokens a text; NaN for no text. O(texts); it does not depend on the size of the set."""
    return float(token_ids.lengths().mean()) if len(token_ids.lengths()) else float("nan")


def length_percentiles(token_ids: TokenIds, *, percentiles: Sequence[float] = PERCENTILES) -> list[float]:
    """Percentiles of the number of tokens a text, interpolated linearly between texts; NaN for no text. O(texts log texts)."""
    lengths = token_ids.lengths()
    return (
        [float(value) for value in np.percentile(lengths, percentiles)]
        if len(lengths)
        else [float("nan")] * len(percentiles)
    )
