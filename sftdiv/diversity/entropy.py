"""Information entropy of the token distribution: how evenly a set spends its tokens over the vocabulary. High is diverse."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sftdiv.records import TokenIds

BLOCK = 1 << 22  # tokens counted at once: numpy's bincount makes an int64 copy of what it is given


def token_entropy(token_ids: TokenIds) -> float:
    """Shannon entropy, in bits, of the distribution of tokens over the whole set; 0 for no token.

    O(tokens). The plug-in estimate is biased downward in small sets (by about types / (2 ln 2
    tokens), Miller 1955), so only sets of about one size compare.
    """
    return entropy(token_counts(token_ids))


def token_counts(token_ids: TokenIds) -> NDArray[np.int64]:
    """Occurrences of each token type, shape (largest id + 1,)."""
    flat = token_ids.flat
    counts = np.zeros(int(flat.max(initial=-1)) + 1, dtype=np.int64)
    for start in range(0, len(flat), BLOCK):
        counts += np.bincount(flat[start : start + BLOCK], minlength=len(counts))
    return counts


def entropy(counts: NDArray[np.integer]) -> float:
    """Shannon entropy, in bits, of what the counts are of (plug-in estimate: counts over their sum as probabilities)."""
    shares = counts[counts > 0] / max(counts.sum(), 1)
    return float(np.sum(shares * np.log2(1 / shares)))
