"""Embedding distance: mean cosine distance of two texts of the set. High is diverse."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sftdiv.diversity.metric import metric
from sftdiv.diversity.text_set import TextSet

ROWS = 256  # in float64 they stay in a core's cache


@metric(
    "embedding_distance",
    {"embedding_distance": "Mean pairwise cosine distance"},
    direction="high",
    needs="embeddings",
    growth="stays",
    paper=["embedding_distance"],
    order=2,
)
def _measure(texts: TextSet) -> float:
    return embedding_distance(texts.vectors)


def embedding_distance(embeddings: NDArray[np.float32]) -> float:
    """Mean cosine distance over all pairs of different rows, in closed form: O(texts x dimensions).

    With unit rows x_i, the cosines of all ordered pairs i != j sum to ``|sum x_i|^2 - sum
    |x_i|^2``. Rows of zeros (a text without a known word) have cosine 0 with every other. It is an
    unbiased estimate of the mean over the source of the texts, so it does not depend on the number
    of texts. ``remote_clique`` of the package ``diversity`` also averages each row's distance of 0
    to itself: it is this times ``(texts - 1) / texts``.

    Args:
        embeddings: Row-normalised vectors, shape (texts, dimensions).

    Returns:
        A number in [0, 2]; NaN for fewer than two texts.
    """
    texts = len(embeddings)
    if texts < 2:
        return float("nan")
    total, squares = np.zeros(embeddings.shape[1]), 0.0
    for start in range(0, texts, ROWS):
        block = embeddings[start : start + ROWS].astype(np.float64)
        total += block.sum(axis=0)
        squares += float(np.vdot(block, block))
    return float(1 - (total @ total - squares) / (texts * (texts - 1)))
