"""N-gram ratio: the share of n-gram occurrences that are distinct. High is diverse; it falls as a set grows."""

from __future__ import annotations

from sftdiv.diversity.ngram_ids import ngram_ids
from sftdiv.records import TokenIds


def ngram_ratios(token_ids: TokenIds, *, order: int = 4) -> list[float]:
    """Distinct n-grams over all n-grams of the set, for n = 1 to ``order`` (distinct-n of Li et al. 2016, arXiv 1510.03055).

    Returns:
        ``order`` numbers in (0, 1]; NaN where no text has n tokens. Their mean is the n-gram diversity of Shaib et al. 2024
        (arXiv 2403.00553, section 3) divided by ``order``.
    """
    return [(int(ids.max()) + 1) / len(ids) if len(ids) else float("nan") for ids, _ in ngram_ids(token_ids, order)]
