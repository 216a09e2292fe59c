"""Figure 2 of the paper as numbers: token frequency against rank, and the contents of the three frequency bands.

From the frequency of each token type, in occurrences or in texts, it computes a rank-frequency curve
and, for each band, the number of types and their share of the text. The curve is thinned to a few hundred ranks, evenly
spaced on the logarithmic axis, where more could not be told apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

RANKS = 300
EXAMPLES = 12
BANDS = ("frequent", "mid", "rare")


def token_bands(
    frequencies: NDArray[np.int64],
    names: Sequence[str],
    *,
    low: float,
    high: float,
    occurrences: NDArray[np.int64] | None = None,
) -> dict[str, Any]:
    """Rank-frequency curve and bands (Li et al., arXiv 2505.24768, section on the microscopic level; Zipf 1949).

    Args:
        frequencies: Occurrences of each type, or the number of texts that contain it, shape (types,).
        names: Name of each type.
        low: Minimum frequency of a mid-frequency type.
        high: Maximum frequency of a mid-frequency type.
        occurrences: Occurrences of each type, shape (types,); None if these are the frequencies.

    Returns:
        ``curve`` (pairs of rank, from 1, and frequency), ``low``, ``high``, ``types``, ``occurrences`` of all types,
        and for each of ``frequent``, ``mid`` and ``rare`` its ``types``, their ``share`` of all occurrences and some
        ``examples`` (the most common ``frequent`` types, the ``mid`` types around the middle rank, the ``rare`` types
        just below the band).
    """
    occurrences = frequencies if occurrences is None else occurrences
    order = np.lexsort((np.arange(len(frequencies)), -frequencies))[: np.count_nonzero(frequencies)]
    ranked, counts = frequencies[order], occurrences[order]
    total = max(int(counts.sum()), 1)
    above, within = int(np.count_nonzero(ranked > high)), int(np.count_nonzero(ranked >= low))
    spans = dict(zip(BANDS, [(0, above), (above, within), (within, len(ranked))], strict=True))
    first_example = {"frequent": 0, "mid": max(above, (above + within - EXAMPLES) // 2), "rare": within}
    bands = {}
    for name, (start, stop) in spans.items():
        first = first_example[name]
        bands[name] = {
            "types": stop - start,
            "share": float(counts[start:stop].sum() / total),
            "examples": [names[token] for token in order[first : min(stop, first + EXAMPLES)].tolist()],
        }
    curve = [[rank, int(ranked[rank - 1])] for rank in thinned(len(ranked))]
    return {"low": low, "high": high, "types": len(ranked), "occurrences": int(counts.sum()), "curve": curve, **bands}


def thinned(last: int) -> list[int]:
    """At most ``RANKS`` whole numbers from 1 to ``last``, evenly spaced on a logarithmic axis, both ends included."""
    return np.unique(np.geomspace(1, last, RANKS).round().astype(int)).tolist() if last else []
