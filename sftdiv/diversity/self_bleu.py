"""Self-BLEU: mean BLEU of each text with all others as references. High is *not* diverse.

BLEU-4 with every other text as a reference, exact and not sampled. The clip of an n-gram (its
largest count in any other text) is the largest count in the set, or the second largest for the text
that holds the largest. Two numbers per n-gram thus replace all pairs of texts, so that the cost is
that of grouping the n-grams, not quadratic in the texts.
"""

from __future__ import annotations

import math
from itertools import starmap

import numpy as np
from numpy.typing import NDArray

from sftdiv.diversity.metric import metric
from sftdiv.diversity.ngram_counts import ORDER, NgramCounts, count_ngrams
from sftdiv.diversity.text_set import TextSet
from sftdiv.records import TokenIds

BLOCK = 10_000  # texts whose numbers are Python objects at a time
WEIGHT = 1 / ORDER
EPSILON = 0.1  # matches of an order without any: method 1 of Chen and Cherry 2014, as in Texygen and NLTK


@metric(
    "self_bleu",
    {"self_bleu": "Self-BLEU"},
    direction="low",
    needs="tokens",
    growth="rises",
    moves_with_length=True,
    paper=["self_bleu"],
    order=5,
)
def _measure(texts: TextSet) -> float:
    return self_bleu(texts.token_ids, counts=texts.ngram_counts)


def self_bleu(token_ids: TokenIds, *, counts: NgramCounts | None = None) -> float:
    """Mean leave-one-out BLEU-4 (Zhu et al. 2018, arXiv 1802.01886) over the texts; O(tokens).

    It rises with the size of the set, since each text has more references: compare sets of one
    size, or use ``size_matched``.

    Args:
        token_ids: Token ids of the texts.
        counts: Their n-grams of orders 1 to 4, if already counted.

    Returns:
        A number in [0, 1]; NaN for fewer than two texts.
    """
    scores = self_bleu_scores(token_ids, counts=counts)
    return float(scores.mean()) if len(scores) > 1 else float("nan")


def self_bleu_scores(token_ids: TokenIds, *, counts: NgramCounts | None = None) -> NDArray[np.float64]:
    """BLEU-4 of each text with all others as references, equal to NLTK's ``sentence_bleu`` to the last bit.

    ``bp * exp(sum_n log(p_n) / 4)`` with clipped precisions p_n and brevity penalty bp (Papineni et
    al. 2002), smoothed by NLTK's ``method1``. Python's ``math`` is used instead of numpy, in NLTK's
    order of operations, since numpy's vectorised ``log`` and ``exp`` differ from it by an ulp.

    Returns:
        Shape (texts,), each in [0, 1]; NaN for a text without any other.
    """
    if len(token_ids.lengths()) < 2:
        return np.full(len(token_ids.lengths()), np.nan)
    counts = counts or count_ngrams(token_ids)
    possible = np.maximum(counts.lengths - np.arange(ORDER)[:, None], 1)
    columns = (counts.lengths, closest_lengths(counts.lengths), counts.matches.T, possible.T)
    scores = np.empty(len(counts.lengths))
    for start in range(0, len(scores), BLOCK):
        block = slice(start, start + BLOCK)
        scores[block] = list(starmap(_bleu, zip(*(column[block].tolist() for column in columns), strict=True)))
    return scores


def _bleu(length: int, closest: int, matches: list[int], possible: list[int]) -> float:
    if not matches[0]:
        return 0.0
    penalty = 1.0 if length > closest else math.exp(1 - closest / length)
    logs = (WEIGHT * math.log((matched or EPSILON) / total) for matched, total in zip(matches, possible, strict=True))
    return penalty * math.exp(math.fsum(logs))


def closest_lengths(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Length of the other text closest in length to each text (the shorter of two equally close), shape (texts,)."""
    order = np.argsort(lengths, kind="stable")
    ranked = lengths[order]
    shorter, longer = np.roll(ranked, 1), np.roll(ranked, -1)
    far = ranked[-1] - ranked[0] + 1
    to_shorter, to_longer = ranked - shorter, longer - ranked
    to_shorter[0], to_longer[-1] = far, far
    closest = np.empty_like(lengths)
    closest[order] = np.where(to_shorter <= to_longer, shorter, longer)
    return closest
