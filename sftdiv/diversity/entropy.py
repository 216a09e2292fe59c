"""Token entropy: evenness of a set's tokens over the vocabulary. High is diverse."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sftdiv.diversity.metric import metric
from sftdiv.diversity.ngram_counts import token_counts
from sftdiv.diversity.text_set import TextSet
from sftdiv.records import TokenIds


@metric(
    "entropy",
    {"entropy": "Token entropy (bits)"},
    direction="high",
    needs="tokens",
    growth="rises",
    moves_with_length=True,
    paper=["entropy"],
    order=6,
)
def _measure(texts: TextSet) -> float:
    return token_entropy(texts.token_ids)


def token_entropy(token_ids: TokenIds) -> float:
    """Shannon entropy, in bits, of the distribution of tokens over the whole set; 0 for no token.

    O(tokens). The plug-in estimate is biased downward in small sets (by about types / (2 ln 2
    tokens), Miller 1955), so only sets of about one size compare.
    """
    return entropy(token_counts(token_ids))


def entropy(counts: NDArray[np.integer]) -> float:
    """Shannon entropy, in bits, of a distribution given by counts (plug-in estimate: count over sum)."""
    shares = counts[counts > 0] / max(counts.sum(), 1)
    return float(np.sum(shares * np.log2(1 / shares)))
