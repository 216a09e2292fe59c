"""Vendi score: effective number of entirely different texts in the set. High is diverse."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sftdiv.diversity.cosine import gram
from sftdiv.diversity.metric import metric
from sftdiv.diversity.text_set import TextSet
from sftdiv.records import SftdivError

ORDERS = {"vendi": 1.0, "vendi_tenth": 0.1, "vendi_2": 2.0, "vendi_infinity": float("inf")}


@metric(
    "vendi",
    {name: f"Vendi score, q = {q:g}" for name, q in ORDERS.items()},
    direction="high",
    needs="embeddings",
    growth="rises",
    order=12,
)
def _measure(texts: TextSet) -> list[float]:
    return vendi_scores(texts.vectors, orders=tuple(ORDERS.values()))


def vendi_score(embeddings: NDArray[np.floating], *, q: float = 1.0) -> float:
    """Effective number of texts of order ``q`` under cosine similarity; see ``vendi_scores``."""
    return vendi_scores(embeddings, orders=(q,))[0]


def vendi_scores(embeddings: NDArray[np.floating], *, orders: Sequence[float]) -> list[float]:
    """Effective numbers of texts: exponential Renyi entropies of the eigenvalues p of the similarity matrix over texts.

    ``exp(-sum p ln p)`` for q = 1 and ``(sum p^q)^(1 / (1 - q))`` otherwise (Friedman and Dieng
    2023, arXiv 2210.02410; orders: Pasarkar and Dieng 2024, arXiv 2310.12952); the number of
    eigenvalues for q = 0, one over the largest for q = infinity. A low order weighs rare directions
    as much as common ones. The eigenvalues of ``X X^T / texts`` are those of ``X^T X / texts`` and
    zeros: O(texts d^2 + d^3) for d dimensions instead of O(texts^3). Eigenvalues below d machine
    epsilons of the largest count as zeros (rounding errors would decide orders below 1); rows of
    zeros do not count as texts. Bounded by min(texts, d), it rises with the size of the set until
    it nears d.

    Args:
        embeddings: Vectors, shape (texts, d), of any length.
        orders: Orders q, each from 0 to infinity.

    Returns:
        A number in [1, min(texts, d)] for each order; NaN for no text.

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
