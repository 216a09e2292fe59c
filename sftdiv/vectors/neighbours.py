"""Exact nearest neighbours by cosine similarity, in blocks.

Similarities are computed in blocks by matrix products, and each row keeps its best so far, so that
no rows x rows matrix is held in memory. The work is quadratic (69,000 rows of 384 dimensions take
half a minute on two cores). In return, nothing is approximate, seeded or dependent on the number of
threads, as it is in graph descent.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sftdiv.vectors.threads import in_ranges

ROWS, COLUMNS = 512, 8_192  # of a block: 16 MiB, large enough for BLAS to reach its full speed


def nearest_neighbours(
    vectors: NDArray[np.float32], count: int, *, threads: int | None = None
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The ``count`` nearest other rows of each row, and their cosine distances.

    Args:
        vectors: Rows of unit length, shape (rows, dimensions).
        count: Neighbours per row; fewer than the rows.
        threads: Number of threads; None for all cores. Affects the run time only.

    Returns:
        Rows and distances in [0, 2], both (rows, count), nearest first (ties: the first row).
    """
    similarity = np.full((len(vectors), count), -np.inf, dtype=np.float32)
    nearest = np.full((len(vectors), count), -1, dtype=np.int32)

    def update(start: int, stop: int) -> None:
        for left in range(0, len(vectors), COLUMNS):
            block = vectors[start:stop] @ vectors[left : left + COLUMNS].T
            _keep_best(block, start, left, similarity[start:stop], nearest[start:stop])

    with in_ranges(threads) as ranges:
        ranges(update, len(vectors), ROWS)
    return nearest, np.clip(1 - similarity, 0, 2)


@njit(cache=True, nogil=True)
def _keep_best(
    block: NDArray[np.float32],
    top: int,
    left: int,
    similarity: NDArray[np.float32],
    nearest: NDArray[np.int32],
) -> None:
    """Insert similarities of a block into each row's sorted list of the best; on real data rare after the first block.

    Args:
        block: Similarities of rows ``top`` ... to rows ``left`` ... of the data, shape (rows,
            columns).
        top: Number of the block's first row.
        left: Number of the block's first column.
        similarity: Best similarities per row so far, descending, shape (rows, count); updated in
            place.
        nearest: Row numbers of ``similarity``; updated in place.
    """
    last = similarity.shape[1] - 1
    for row in range(block.shape[0]):
        for column in range(block.shape[1]):
            value = block[row, column]
            if value > similarity[row, last] and top + row != left + column:
                rank = last
                while rank > 0 and similarity[row, rank - 1] < value:
                    similarity[row, rank] = similarity[row, rank - 1]
                    nearest[row, rank] = nearest[row, rank - 1]
                    rank -= 1
                similarity[row, rank] = value
                nearest[row, rank] = left + column
