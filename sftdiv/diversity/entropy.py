"""Information entropy of the token distribution: how evenly a set spends its tokens over the vocabulary. High is diverse."""

from __future__ import annotations

import numpy as np

from sftdiv.records import TokenIds


def token_entropy(token_ids: TokenIds) -> float:
    """Shannon entropy, in bits, of the distribution of tokens over the whole set (plug-in estimate); 0 for no token."""
    counts = np.bincount(token_ids.flat)
    shares = counts[counts > 0] / max(len(token_ids.flat), 1)
    return float(np.sum(shares * np.log2(1 / shares)))
