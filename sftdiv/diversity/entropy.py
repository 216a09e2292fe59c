"""Information entropy of the token distribution: how evenly a set spends its tokens over the vocabulary. High is diverse."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sftdiv.records import TokenIds


def token_entropy(token_ids: TokenIds) -> float:
    """Shannon entropy, in bits, of the distribution of tokens over the whole set; 0 for no token."""
    return entropy(np.bincount(token_ids.flat))


def entropy(counts: NDArray[np.integer]) -> float:
    """Shannon entropy, in bits, of what the counts are of (plug-in estimate: counts over their sum as probabilities)."""
    shares = counts[counts > 0] / max(counts.sum(), 1)
    return float(np.sum(shares * np.log2(1 / shares)))
