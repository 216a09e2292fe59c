"""UMAP's fuzzy graph: the strength of the connection between each row and its neighbours.

`fuzzy_graph` turns nearest neighbours and their distances into a symmetric sparse matrix of weights
in (0, 1]. Distances are measured from each row's nearest neighbour and scaled by a width of the
row's own, so that dense and sparse regions count alike (McInnes et al. 2018, arXiv 1802.03426,
algorithms 2 and 3). The result equals ``umap.umap_.fuzzy_simplicial_set`` up to its tolerance
(tested), without a package that compiles for half a minute on its first import.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

BISECTIONS = 64
SMALLEST_WIDTH = 1e-3  # share of the mean distance, as in umap-learn: equally near neighbours would give a width of 0


def fuzzy_graph(nearest: NDArray[np.int32], distances: NDArray[np.float32]) -> scipy.sparse.csr_array:
    """The fuzzy union of all rows' neighbourhoods, shape (rows, rows), float32, symmetric, with an empty diagonal.

    Args:
        nearest: Neighbours of each row, without the row itself, shape (rows, neighbours).
        distances: Distances of the neighbours, ascending, shape (rows, neighbours).
    """
    rows, neighbours = nearest.shape
    first = np.min(np.where(distances > 0, distances, np.inf), axis=1, keepdims=True)
    excess = np.maximum(distances - np.where(np.isfinite(first), first, 0), 0).astype(np.float64)
    widths = _widths(excess, np.log2(neighbours + 1))
    mean = distances.mean(axis=1) * neighbours / (neighbours + 1)  # umap-learn counts the row itself as a neighbour
    widths = np.maximum(widths, SMALLEST_WIDTH * np.where(np.isfinite(first[:, 0]), mean, mean.mean()))
    weights = np.exp(-excess / widths[:, None]).astype(np.float32)
    starts = np.arange(rows + 1) * neighbours
    directed = scipy.sparse.csr_array((weights.ravel(), nearest.ravel(), starts), shape=(rows, rows))
    union = scipy.sparse.csr_array(directed + directed.T - directed * directed.T)
    union.sort_indices()
    return union


def _widths(excess: NDArray[np.float64], cardinality: float) -> NDArray[np.float64]:
    """Width per row at which its neighbours' weights sum to ``cardinality``, by bisection, shape (rows,)."""
    low, high, width = np.zeros(len(excess)), np.full(len(excess), np.inf), np.ones(len(excess))
    for _ in range(BISECTIONS):
        too_wide = np.exp(-excess / width[:, None]).sum(axis=1) > cardinality
        low, high = np.where(too_wide, low, width), np.where(too_wide, width, high)
        width = np.where(np.isfinite(high), (low + high) / 2, width * 2)
    return width
