"""Homogenisation: overlap of two random texts as ROUGE-L. High is *not* diverse."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sftdiv.diversity.metric import metric
from sftdiv.diversity.text_set import TextSet
from sftdiv.records import TokenIds

PAIRS = 10_000


@metric(
    "homogenisation",
    {"homogenisation": "Homogenisation (ROUGE-L of random pairs)"},
    direction="low",
    needs="tokens",
    growth="stays",
    moves_with_length=True,
    order=11,
)
def _measure(texts: TextSet) -> float:
    return homogenisation(texts.token_ids, texts.generator)


def homogenisation(token_ids: TokenIds, rng: np.random.Generator, *, pairs: int = PAIRS) -> float:
    """Mean ROUGE-L of ``pairs`` pairs of different texts drawn uniformly; see ``pair_scores``.

    Padmakumar and He 2024 (arXiv 2309.05196) average over all pairs, O(texts^2); this is an
    unbiased estimate of that with a standard error of ``std(pair_scores) / sqrt(pairs)``. It does
    not depend on the size of the set. With cosines of embeddings instead of ROUGE-L the mean over
    all pairs has a closed form: it is one minus ``embedding_distance``.

    Args:
        token_ids: Token ids of the texts.
        rng: Generator that draws the pairs.
        pairs: Number of pairs, drawn with replacement.

    Returns:
        A number in [0, 1]; NaN for fewer than two texts.
    """
    scores = pair_scores(token_ids, rng, pairs=pairs)
    return float(scores.mean()) if len(scores) else float("nan")


def pair_scores(token_ids: TokenIds, rng: np.random.Generator, *, pairs: int = PAIRS) -> NDArray[np.float64]:
    """ROUGE-L (F1) of each pair drawn, shape (pairs,); empty for fewer than two texts. See ``rouge_l``."""
    from sftdiv.diversity.kernels.rouge_l_pairs import rouge_l_of_pairs

    texts = len(token_ids.lengths())
    if texts < 2:
        return np.empty(0)
    first = rng.integers(texts, size=pairs)
    second = (first + rng.integers(1, texts, size=pairs)) % texts
    return rouge_l_of_pairs(token_ids.flat, token_ids.offsets, first, second)


def rouge_l(first: NDArray[np.int32], second: NDArray[np.int32]) -> float:
    """``2 L / (a + b)`` for texts of a and b tokens with a longest common subsequence of L; 0 for two empty texts.

    The F1 of Lin 2004, as the package ``rouge_score`` computes it for the same tokens. O(a b).
    """
    from sftdiv.diversity.kernels.rouge_l_pairs import rouge_l_of_pair

    return float(rouge_l_of_pair(first, second))
