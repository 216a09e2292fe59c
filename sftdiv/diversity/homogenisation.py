"""Homogenisation: how much of one text another text says in the same order. High is *not* diverse."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sftdiv.records import TokenIds

PAIRS = 10_000


def homogenisation(token_ids: TokenIds, rng: np.random.Generator, *, pairs: int = PAIRS) -> float:
    """Mean ROUGE-L of ``pairs`` pairs of different texts drawn uniformly; see ``pair_scores``.

    Padmakumar and He 2024 (arXiv 2309.05196) average over all pairs, O(texts^2); this is an
    unbiased estimate of that with a standard error of ``std(pair_scores) / sqrt(pairs)``. It does
    not depend on the size of the set. With cosines of embeddings for ROUGE-L the mean over all
    pairs has a closed form: it is one minus ``embedding_distance``.

    Args:
        token_ids: The texts.
        rng: Draws the pairs.
        pairs: How many, with replacement.

    Returns:
        A number in [0, 1]; NaN for fewer than two texts.
    """
    scores = pair_scores(token_ids, rng, pairs=pairs)
    return float(scores.mean()) if len(scores) else float("nan")


def pair_scores(token_ids: TokenIds, rng: np.random.Generator, *, pairs: int = PAIRS) -> NDArray[np.float64]:
    """ROUGE-L (F1) of each pair drawn, shape (pairs,); empty for fewer than two texts. See ``rouge_l``."""
    texts = len(token_ids.lengths())
    if texts < 2:
        return np.empty(0)
    one = rng.integers(texts, size=pairs)
    other = (one + rng.integers(1, texts, size=pairs)) % texts
    return np.asarray(_rouge_l_of_pairs(token_ids.flat, token_ids.offsets, one, other))


def rouge_l(one: NDArray[np.int32], other: NDArray[np.int32]) -> float:
    """``2 L / (a + b)`` for texts of a and b tokens with a longest common subsequence of L (Lin 2004, F1); 0 for two empty texts.

    The package ``rouge_score`` gives the same for the same tokens. O(a b).
    """
    return float(_rouge_l(one, other))


@njit(cache=True)  # type: ignore[misc]
def _rouge_l_of_pairs(flat, offsets, one, other):  # type: ignore[no-untyped-def]
    scores = np.empty(len(one))
    for i in range(len(one)):
        a, b = one[i], other[i]
        scores[i] = _rouge_l(flat[offsets[a] : offsets[a + 1]], flat[offsets[b] : offsets[b + 1]])
    return scores


@njit(cache=True)  # type: ignore[misc]
def _rouge_l(one, other):  # type: ignore[no-untyped-def]
    if len(one) + len(other) == 0:
        return 0.0
    common = np.zeros(
        len(other) + 1, np.int64
    )  # longest common subsequence of what was read of one and each beginning of other
    for token in one:
        diagonal = 0
        for j in range(len(other)):
            above = common[j + 1]
            common[j + 1] = diagonal + 1 if token == other[j] else max(above, common[j])
            diagonal = above
    return 2 * common[-1] / (len(one) + len(other))
