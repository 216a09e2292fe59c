"""The paper's figure 2 as numbers: the frequency of each token against its rank, and what lies in the three bands.

In: the occurrences of each token type. Out: a thinned curve and, for each band, how many types and
how much of the text it holds. The trade: a few hundred ranks, evenly spread over the logarithm,
stand for all of them; on log-log axes nobody sees the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

RANKS = 300
EXAMPLES = 12
BANDS = ("frequent", "mid", "rare")


def token_bands(occurrences: NDArray[np.int64], names: Sequence[str], *, low: float, high: float) -> dict[str, Any]:
    """Rank-frequency curve and bands (Li et al., arXiv 2505.24768, section on the microscopic level; Zipf 1949).

    Args:
        occurrences: Of each type, shape (types,).
        names: Of each type.
        low: Fewest occurrences of a mid-frequency type.
        high: Most occurrences of a mid-frequency type.

    Returns:
        ``curve`` (pairs of rank, from 1, and occurrences), ``low``, ``high``, and for each of
        ``frequent``, ``mid`` and ``rare`` its ``types``, their ``share`` of all occurrences and
        some ``examples`` (of ``frequent`` the commonest, of ``mid`` those around its middle rank,
        of ``rare`` those just below the band).
    """
    order = np.lexsort((np.arange(len(occurrences)), -occurrences))[: np.count_nonzero(occurrences)]
    ranked = occurrences[order]
    total = max(int(ranked.sum()), 1)
    above, within = int(np.count_nonzero(ranked > high)), int(np.count_nonzero(ranked >= low))
    spans = dict(zip(BANDS, [(0, above), (above, within), (within, len(ranked))], strict=True))
    shown = {"frequent": 0, "mid": max(above, (above + within - EXAMPLES) // 2), "rare": within}
    bands = {
        name: {
            "types": stop - start,
            "share": float(ranked[start:stop].sum() / total),
            "examples": [names[token] for token in order[shown[name] : min(stop, shown[name] + EXAMPLES)].tolist()],
        }
        for name, (start, stop) in spans.items()
    }
    ranks = thinned(len(ranked))
    curve = [[rank, int(ranked[rank - 1])] for rank in ranks]
    return {"low": low, "high": high, "types": len(ranked), "occurrences": int(ranked.sum()), "curve": curve, **bands}


def thinned(last: int) -> list[int]:
    """At most ``RANKS`` whole numbers from 1 to ``last``, evenly spread over the logarithm, both ends included."""
    return np.unique(np.geomspace(1, last, RANKS).round().astype(int)).tolist() if last else []
