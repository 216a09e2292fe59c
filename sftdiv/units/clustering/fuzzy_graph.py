"""UMAP's fuzzy graph: how strongly each row belongs with its neighbours.

In: nearest neighbours and their distances. Out: a symmetric sparse matrix of weights in (0, 1].
Distances are measured from each row's nearest neighbour and by a width of the row's own, so that
dense and sparse regions count alike (McInnes et al. 2018, arXiv 1802.03426, algorithms 2 and 3).
Equal to ``umap.umap_.fuzzy_simplicial_set`` up to its tolerance (tested). The trade: half a page of
code for a package of its own that compiles for half a minute when it is first imported.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

BISECTIONS = 64
SMALLEST_WIDTH = (
    1e-3  # of the mean distance, as in umap-learn: else a row whose neighbours are all equally near has a width of 0
)


def fuzzy_graph(nearest: NDArray[np.int32], distances: NDArray[np.float32]) -> scipy.sparse.csr_array:
    """The fuzzy union of all rows' neighbourhoods, shape (rows, rows), float32, symmetric, with an empty diagonal.

    Args:
        nearest: The neighbours of each row, without itself, shape (rows, neighbours).
        distances: Theirs, ascending.
    """
    first = np.min(np.where(distances > 0, distances, np.inf), axis=1, keepdims=True)
    beyond = np.maximum(distances - np.where(np.isfinite(first), first, 0), 0).astype(np.float64)
    widths = _widths(beyond, np.log2(distances.shape[1] + 1))
    mean = (
        distances.mean(axis=1) * distances.shape[1] / (distances.shape[1] + 1)
    )  # umap-learn counts the row itself as a neighbour
    widths = np.maximum(widths, SMALLEST_WIDTH * np.where(np.isfinite(first[:, 0]), mean, mean.mean()))
    weights = np.exp(-beyond / widths[:, None]).astype(np.float32)
    starts = np.arange(len(nearest) + 1) * nearest.shape[1]
    directed = scipy.sparse.csr_array((weights.ravel(), nearest.ravel(), starts), shape=(len(nearest), len(nearest)))
    union = scipy.sparse.csr_array(directed + directed.T - directed * directed.T)
    union.sort_indices()
    return union


def _widths(beyond: NDArray[np.float64], cardinality: float) -> NDArray[np.float64]:
    """The width of each row at which the weights of its neighbours sum to ``cardinality``, by bisection, shape (rows,)."""
    low, high, width = np.zeros(len(beyond)), np.full(len(beyond), np.inf), np.ones(len(beyond))
    for _ in range(BISECTIONS):
        too_wide = np.exp(-beyond / width[:, None]).sum(axis=1) > cardinality
        low, high = np.where(too_wide, low, width), np.where(too_wide, width, high)
        width = np.where(np.isfinite(high), (low + high) / 2, width * 2)
    return width
