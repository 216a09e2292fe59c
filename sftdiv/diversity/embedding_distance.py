"""Embedding distance: how far apart two texts of the set are on average. High is diverse."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def embedding_distance(embeddings: NDArray[np.float32]) -> float:
    """Mean cosine distance over all pairs of distinct rows, in closed form: O(texts x dimensions), no pair is ever formed.

    With unit rows x_i, the cosines of all ordered pairs i != j sum to ``|sum x_i|^2 - sum |x_i|^2``. Rows of zeros (a text without a known
    word) have cosine 0 with every other.

    Args:
        embeddings: Row-normalised vectors, shape (texts, dimensions).

    Returns:
        A number in [0, 2]; NaN for fewer than two texts.
    """
    texts = len(embeddings)
    if texts < 2:
        return float("nan")
    total = embeddings.sum(axis=0, dtype=np.float64)
    squares = np.square(embeddings, dtype=np.float64).sum()
    return float(1 - (total @ total - squares) / (texts * (texts - 1)))
