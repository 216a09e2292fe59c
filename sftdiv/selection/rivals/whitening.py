"""Whitening of embeddings: centred, and scaled to the same variance in every direction.

Sentence embeddings share a few dominant directions, so that the cosines of unrelated texts are far from 0. Whitening
removes them: ``y = normalise(Lambda^(-1/2) U^T (x - mean))`` with the covariance ``U Lambda U^T`` of the universe's
vectors. Su et al. 2021 (arXiv 2103.15316) for sentence embeddings; Shu et al. 2026 (arXiv 2602.13773, "CRDS-W") for
the selection of instruction data, where directions of small variance are dropped as well. Here only those below
``FLOOR`` of the largest variance are, which carry rounding errors.

O(examples x d^2 + d^3).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sftdiv.protocols import SelectionProblem
from sftdiv.selection.ordered import Stratum, take_in_order

FLOOR = 1e-7  # of the largest variance
ROWS = 8_192  # per block

VectorOrder = Callable[[Stratum, NDArray[np.float32]], NDArray[np.int64]]


def take_by_vectors(problem: SelectionProblem, order_of: VectorOrder, *, whiten: bool) -> NDArray[np.int64]:
    """The selected rows of the corpus, stratum by stratum, by an order of the vectors of a stratum.

    Args:
        problem: Its embeddings of ``problem.side`` are compared.
        order_of: Positions in a stratum in the order of preference, given its vectors; see `take_in_order`.
        whiten: Whether the vectors of the universe are whitened first.
    """
    universe = problem.universe.indices
    vectors = unit_rows(problem.embeddings(problem.side)[universe])
    if whiten:
        vectors = whitened(vectors)

    def of_stratum(stratum: Stratum) -> NDArray[np.int64]:
        is_everything = len(stratum) == len(universe)
        return order_of(stratum, vectors if is_everything else vectors[np.searchsorted(universe, stratum.rows)])

    return np.concatenate(take_in_order(problem, of_stratum))


def unit_rows(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """Rows scaled to unit length, same shape; rows of zeros stay zeros."""
    units = np.empty(vectors.shape, dtype=np.float32)
    for start in range(0, len(vectors), ROWS):
        block = vectors[start : start + ROWS].astype(np.float64)
        norms = np.sqrt(np.einsum("ij,ij->i", block, block))
        units[start : start + ROWS] = block / np.where(norms > 0, norms, 1)[:, None]
    return units


def whitened(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Whitened rows of unit length, shape (rows, directions); see the module.

    Rows of zeros (texts without a known word) are left out of mean and covariance and stay zeros.
    """
    known = vectors.any(axis=1)
    rows = vectors[known]
    if not len(rows):
        return vectors
    mean = rows.mean(axis=0, dtype=np.float64)
    covariance = np.zeros((vectors.shape[1], vectors.shape[1]))
    for start in range(0, len(rows), ROWS):
        block = rows[start : start + ROWS] - mean
        covariance += block.T @ block
    variances, directions = np.linalg.eigh(covariance / len(rows))
    kept = variances > FLOOR * max(variances[-1], np.finfo(np.float64).tiny)
    scaled = directions[:, kept] / np.sqrt(variances[kept])
    result = np.zeros((len(vectors), int(kept.sum())), dtype=np.float32)
    for start in range(0, len(vectors), ROWS):
        block = (vectors[start : start + ROWS] - mean) @ scaled
        result[start : start + ROWS] = unit_rows(block)
    result[~known] = 0
    return result
