"""Vendi score: how many entirely different texts the set is worth. High is diverse."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sftdiv.diversity.cosine import gram
from sftdiv.records import SftdivError


def vendi_score(embeddings: NDArray[np.floating], *, q: float = 1.0) -> float:
    """The effective number of texts of order ``q`` under cosine similarity; see ``vendi_scores``."""
    return vendi_scores(embeddings, orders=(q,))[0]


def vendi_scores(embeddings: NDArray[np.floating], *, orders: Sequence[float]) -> list[float]:
    """Effective numbers of texts: exponential Renyi entropies of the eigenvalues p of the similarity matrix divided by the texts.

    ``exp(-sum p ln p)`` for q = 1 and ``(sum p^q)^(1 / (1 - q))`` else (Friedman and Dieng 2023,
    arXiv 2210.02410; orders: Pasarkar and Dieng 2024, arXiv 2310.12952); the number of eigenvalues
    for q = 0, one over the largest for q = infinity. A low order weighs rare directions as much as
    common ones. The eigenvalues of ``X X^T / texts`` are those of ``X^T X / texts`` and zeros:
    O(texts d^2 + d^3) for d dimensions instead of O(texts^3). Those under d machine epsilons of the
    largest count as zeros (rounding errors would decide orders below 1), and rows of zeros as no
    text. Bounded by min(texts, d), it rises with the size of the set until it nears d.

    Args:
        embeddings: Vectors, shape (texts, d); of any length, cosines are taken.
        orders: Orders q, each from 0 to infinity.

    Returns:
        For each order a number in [1, min(texts, d)]; NaN for no text.

    Raises:
        SftdivError: If an order is negative.
    """
    if any(not q >= 0 for q in orders):
        raise SftdivError(f"Vendi orders are numbers from 0 to infinity, got {list(orders)}")
    values = np.linalg.eigvalsh(gram(embeddings))
    if not len(values) or values[-1] <= 0:
        return [float("nan")] * len(orders)
    values = values[values > values[-1] * embeddings.shape[1] * np.finfo(embeddings.dtype).eps]
    return [float(_effective_number(values / values.sum(), q)) for q in orders]


def _effective_number(shares: NDArray[np.float64], q: float) -> np.float64:
    if q == 1:
        return np.exp(-np.sum(shares * np.log(shares)))
    if np.isinf(q):
        return 1 / shares.max()
    return np.sum(shares**q) ** (1 / (1 - q))
