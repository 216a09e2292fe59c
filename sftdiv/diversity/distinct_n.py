"""Distinct-n: distinct n-grams per token. High is diverse; it falls as a set grows."""

from __future__ import annotations

from sftdiv.diversity.metric import metric
from sftdiv.diversity.ngram_counts import ORDER, NgramCounts, count_ngrams
from sftdiv.diversity.text_set import TextSet
from sftdiv.records import TokenIds


@metric(
    "distinct",
    {f"distinct_{n}": f"Distinct-{n}" for n in range(1, ORDER + 1)},
    direction="high",
    needs="tokens",
    growth="falls",
    moves_with_length=True,
    order=7,
)
def _measure(texts: TextSet) -> list[float]:
    return distinct_n(texts.token_ids, counts=texts.ngram_counts)


def distinct_n(token_ids: TokenIds, *, order: int = ORDER, counts: NgramCounts | None = None) -> list[float]:
    """Distinct n-grams over all *tokens* of the set, for n = 1 to ``order``; O(tokens x order).

    Li et al. 2016 (arXiv 1510.03055). The n-gram ratio divides by n-grams: the two are equal for n
    = 1, and ``distinct_n = ngram_ratio x n-grams / tokens`` for longer ones, so that distinct-n is
    lower for shorter texts. Like the ratio it falls with the size of the set: see ``size_matched``.

    Args:
        token_ids: Token ids of the texts; no n-gram runs across the end of one.
        order: Longest n-gram.
        counts: Their n-grams, if already counted.

    Returns:
        ``order`` numbers in [0, 1]; NaN for a set without tokens.
    """
    counts = counts or count_ngrams(token_ids, order=order)
    tokens = int(counts.lengths.sum())
    return [distinct / tokens if tokens else float("nan") for distinct in counts.distinct.tolist()]
