"""Self-BLEU: how well each text is predicted by all the others. High is *not* diverse.

In: token ids of a set. Out: the mean over texts of BLEU-4 with every other text as a reference, exact, not sampled. An n-gram's clip (its
largest count in any other text) is the set's largest count, or the second largest for the text that holds the largest: two numbers an
n-gram replace all pairs, so that the cost is that of sorting the n-grams, not quadratic in the texts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sftdiv.diversity.ngram_ids import ngram_ids
from sftdiv.records import TokenIds

ORDER = 4
EPSILON = 0.1  # stands for the matches of an order without any: method 1 of Chen and Cherry 2014, as in Texygen and NLTK


def self_bleu(token_ids: TokenIds) -> float:
    """Mean leave-one-out BLEU-4 (Zhu et al. 2018, arXiv 1802.01886); equal to NLTK's ``sentence_bleu`` with ``method1`` on each text.

    Returns:
        A number in [0, 1]; NaN for fewer than two texts.
    """
    lengths = token_ids.lengths()
    if len(lengths) < 2:
        return float("nan")
    log_precision = np.zeros(len(lengths))
    shares_a_token = np.zeros(len(lengths), dtype=bool)
    for n, (ids, text) in enumerate(ngram_ids(token_ids, ORDER), start=1):
        matches = clipped_matches(ids, text, len(lengths))
        possible = np.maximum(lengths - n + 1, 1)
        log_precision += np.log(np.where(matches > 0, matches, EPSILON) / possible) / ORDER
        if n == 1:
            shares_a_token = matches > 0
    scores = np.where(shares_a_token, np.exp(log_precision) * brevity_penalty(lengths), 0.0)
    return float(scores.mean())


def clipped_matches(ids: NDArray[np.int64], text: NDArray[np.int64], texts: int) -> NDArray[np.float64]:
    """For each text, its n-grams that some other text holds too, each counted at most as often as it is in any one other text.

    Args:
        ids: N-gram of each occurrence, shape (occurrences,).
        text: Text of each occurrence, shape (occurrences,).
        texts: Number of texts.

    Returns:
        Clipped matches, shape (texts,).
    """
    pairs, counts = np.unique(ids * texts + text, return_counts=True)
    gram, holder = np.divmod(pairs, texts)
    by_gram = np.lexsort((-counts, gram))
    gram, holder, counts = gram[by_gram], holder[by_gram], counts[by_gram]
    first = np.flatnonzero(np.diff(gram, prepend=-1))
    next_count = np.append(counts[1:], 0) * np.append(gram[1:] == gram[:-1], False)
    clip = counts[first][gram]
    clip[first] = next_count[first]
    return np.bincount(holder, weights=np.minimum(counts, clip), minlength=texts).astype(np.float64)


def brevity_penalty(lengths: NDArray[np.int64]) -> NDArray[np.float64]:
    """BLEU's penalty for texts shorter than the other text whose length is closest (of two equally close, the shorter), shape (texts,)."""
    order = np.argsort(lengths, kind="stable")
    ranked = lengths[order].astype(np.float64)
    shorter = np.concatenate([[-np.inf], ranked[:-1]])
    longer = np.concatenate([ranked[1:], [np.inf]])
    closest = np.where(ranked - shorter <= longer - ranked, shorter, longer)
    penalty = np.empty(len(lengths))
    penalty[order] = np.exp(np.minimum(0.0, 1 - closest / np.maximum(ranked, 1)))
    return penalty
