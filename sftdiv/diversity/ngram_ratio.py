"""N-gram ratio: the share of n-gram occurrences that are distinct. High is diverse; it falls as a set grows."""

from __future__ import annotations

from sftdiv.diversity.ngram_counts import ORDER, NgramCounts, count_ngrams
from sftdiv.records import TokenIds


def ngram_ratios(token_ids: TokenIds, *, order: int = ORDER, counts: NgramCounts | None = None) -> list[float]:
    """Distinct n-grams over all n-grams of the set, for n = 1 to ``order``; O(tokens x order).

    It falls with the size of the set, since words are finite: compare sets of one size, or use
    ``size_matched``.

    Args:
        token_ids: The texts; no n-gram runs across the end of one.
        order: Longest n-gram.
        counts: Their n-grams, where they are counted already.

    Returns:
        ``order`` numbers in (0, 1]; NaN where no text has n tokens. Their sum is the n-gram
        diversity score of Shaib et al. 2024 (arXiv 2403.00553, section 3); distinct-n
        (``distinct_n``) divides by tokens instead of n-grams.
    """
    counts = counts or count_ngrams(token_ids, order=order)
    pairs = zip(counts.distinct.tolist(), counts.occurrences.tolist(), strict=True)
    return [distinct / occurrences if occurrences else float("nan") for distinct, occurrences in pairs]
