"""Radius: geometric mean of the vectors' spread along each dimension. High is diverse."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sftdiv.diversity.metric import metric
from sftdiv.diversity.text_set import TextSet

ROWS = 8192


@metric("radius", {"radius": "Radius"}, direction="high", needs="embeddings", growth="stays", order=16)
def _measure(texts: TextSet) -> float:
    return radius(texts.vectors)


def radius(embeddings: NDArray[np.floating]) -> float:
    """Geometric mean over dimensions of the vectors' standard deviation, ``(prod_h sigma_h)^(1/d)``.

    Lai et al. 2020 (arXiv 2003.08529, section 3.1), the radius of an ellipsoid with those axes.
    O(texts d), in blocks. The standard deviation is a population's, which depends on the number of
    texts by a factor ``sqrt(1 - 1/texts)`` only.

    Args:
        embeddings: Vectors, shape (texts, d).

    Returns:
        A number of at least 0, and 0 where a dimension does not vary; NaN for no text.
    """
    if not len(embeddings):
        return float("nan")
    blocks = [slice(start, start + ROWS) for start in range(0, len(embeddings), ROWS)]
    mean = sum(embeddings[block].sum(axis=0, dtype=np.float64) for block in blocks) / len(embeddings)
    squares = sum(np.square(embeddings[block] - mean).sum(axis=0) for block in blocks)
    if not np.all(squares > 0):
        return 0.0
    return float(np.exp(np.log(squares / len(embeddings)).mean() / 2))
