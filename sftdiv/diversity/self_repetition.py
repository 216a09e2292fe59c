"""Self-repetition: number of other texts that share a text's phrases of four tokens. High is *not* diverse."""

from __future__ import annotations

import numpy as np

from sftdiv.diversity.metric import metric
from sftdiv.diversity.ngram_counts import ORDER, NgramCounts, count_ngrams
from sftdiv.diversity.text_set import TextSet
from sftdiv.records import TokenIds


@metric(
    "self_repetition",
    {"self_repetition": "Self-repetition of 4-grams"},
    direction="low",
    needs="tokens",
    growth="rises",
    moves_with_length=True,
    order=10,
)
def _measure(texts: TextSet) -> float:
    return self_repetition(texts.token_ids, counts=texts.ngram_counts)


def self_repetition(token_ids: TokenIds, *, n: int = ORDER, counts: NgramCounts | None = None) -> float:
    """Mean over texts of ``log(1 + sum over its distinct n-grams of the other texts that hold it)``; O(tokens x n).

    Salkar et al. 2022 (arXiv 2210.08145), as the package ``diversity`` of Shaib et al. 2024
    computes it (``self_repetition_score``): natural logarithm, an n-gram counted once per text. For
    the whitespace words of the texts the value is the package's. It rises with the size of the set:
    see ``size_matched``.

    Args:
        token_ids: Token ids of the texts.
        n: Length of the phrases.
        counts: Their n-grams of orders 1 to at least ``n``, if already counted.

    Returns:
        A number of at least 0; NaN for no text.
    """
    counts = counts or count_ngrams(token_ids, order=n)
    return float(np.log1p(counts.repeats[n - 1]).mean()) if len(counts.lengths) else float("nan")
