"""N-gram ratio: share of n-gram occurrences that are distinct. High is diverse; it falls as a set grows."""

from __future__ import annotations

import numpy as np

from sftdiv.diversity.metric import metric
from sftdiv.diversity.ngram_counts import ORDER, NgramCounts, count_ngrams
from sftdiv.diversity.text_set import TextSet
from sftdiv.records import TokenIds

PER_ORDER = {f"ngram_ratio_{n}": f"N-gram ratio, n = {n}" for n in range(1, ORDER + 1)}

PAPERS = ("ngram_ratio_1", "ngram_ratio_2")  # two of its seven metrics; the mean is this project's


@metric(
    "ngram_ratio",
    {"ngram_ratio": f"N-gram ratio, mean of n = 1 to {ORDER}", **PER_ORDER},
    details=[name for name in PER_ORDER if name not in PAPERS],  # their mean is a metric
    direction="high",
    needs="tokens",
    growth="falls",
    moves_with_length=True,
    paper=PAPERS,
    order=1,
)
def _measure(texts: TextSet) -> list[float]:
    ratios = ngram_ratios(texts.token_ids, counts=texts.ngram_counts)
    return [float(np.mean(ratios)), *ratios]


def ngram_ratios(token_ids: TokenIds, *, order: int = ORDER, counts: NgramCounts | None = None) -> list[float]:
    """Distinct n-grams over all n-grams of the set, for n = 1 to ``order``; O(tokens x order).

    It falls with the size of the set, since words are finite: compare sets of one size, or use
    ``size_matched``.

    Args:
        token_ids: Token ids of the texts; no n-gram runs across the end of one.
        order: Longest n-gram.
        counts: Their n-grams, if already counted.

    Returns:
        ``order`` numbers in (0, 1]; NaN where no text has n tokens. Their sum is the n-gram
        diversity score of Shaib et al. 2024 (arXiv 2403.00553, section 3); distinct-n
        (``distinct_n``) divides by tokens instead of n-grams.
    """
    counts = counts or count_ngrams(token_ids, order=order)
    pairs = zip(counts.distinct.tolist(), counts.occurrences.tolist(), strict=True)
    return [distinct / occurrences if occurrences else float("nan") for distinct, occurrences in pairs]
