"""Length distribution of the texts of a side: mean, percentiles, and a histogram with the same bins for every dataset.

From the number of tokens of each text it computes plain numbers for JSON. Bins grow by a factor of
the square root of two, since lengths of real data span three orders of magnitude; bins of equal
width would show one tall bar.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

PERCENTILES = (0, 5, 25, 50, 75, 95, 99, 100)


def lengths_of(tokens: NDArray[np.int64]) -> dict[str, Any]:
    """Mean, percentiles and histogram of lengths.

    Args:
        tokens: Number of tokens of each text, shape (texts,), at least one text.

    Returns:
        ``mean``; ``percentiles`` (percent to tokens, linear interpolation); ``histogram`` with
        ``edges`` (bin ``i`` covers ``edges[i] <= tokens < edges[i + 1]``) and ``texts``, a count
        for each bin.
    """
    edges = bin_edges(int(tokens.max()))
    values = np.percentile(tokens, PERCENTILES)
    counts = np.histogram(tokens, bins=edges)[0]
    return {
        "mean": float(tokens.mean()),
        "percentiles": {str(percent): float(value) for percent, value in zip(PERCENTILES, values, strict=True)},
        "histogram": {"edges": edges, "texts": counts.tolist()},
    }


def bin_edges(longest: int) -> list[int]:
    """0, 1, 2, 3, 4, 6, 8, 11, 16, 23, ... (2 to the power of k/2, rounded) up to the first above ``longest``."""
    edges, power = [0, 1], 0
    while edges[-1] <= longest:
        power += 1
        edge = round(2 ** (power / 2))
        edges += [edge] if edge > edges[-1] else []
    return edges
