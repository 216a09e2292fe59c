"""Log-determinant: volume spanned by the vectors of a set, in nats. High is diverse."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sftdiv.diversity.cosine import gram
from sftdiv.diversity.metric import metric
from sftdiv.diversity.text_set import TextSet


@metric(
    "log_determinant",
    {"log_determinant": "Log-determinant (nats)"},
    direction="high",
    needs="embeddings",
    growth="rises",
    order=17,
)
def _measure(texts: TextSet) -> float:
    return log_determinant(texts.vectors)


def log_determinant(embeddings: NDArray[np.floating], *, alpha: float = 1.0) -> float:
    """``ln det(I + alpha X X^T)`` of the unit rows X: a determinantal point process over the texts.

    Kulesza and Taskar 2012 (arXiv 1207.6083); for instruction data Wang et al. 2024 (arXiv
    2402.02318). By Sylvester's determinant identity it is ``ln det(I + alpha X^T X)``: a Cholesky
    factor of dimensions x dimensions, O(texts d^2 + d^3). Every text adds to it (a copy of another
    text adds less than a new direction), so only sets of one size compare: see ``size_matched``.

    Args:
        embeddings: Vectors, shape (texts, d), scaled here to unit length.
        alpha: Weight of the similarities against the identity, above 0.

    Returns:
        A number of at least 0; 0 for no text.
    """
    factor = np.linalg.cholesky(np.eye(embeddings.shape[1]) + alpha * gram(embeddings))
    return float(2 * np.log(np.diagonal(factor)).sum())
