"""Exact nearest neighbours by cosine, in blocks.

In: vectors. Out: each row's nearest other rows and their cosine distances. Blocks of similarities
come from matrix products and are read once, each row keeping its best so far, so that no rows x
rows matrix is held. The trade: the work is quadratic (69,000 rows of 384 numbers take half a minute
on two cores), and in exchange nothing is approximate, seeded or dependent on the number of threads,
as graph descent is.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sftdiv.units.clustering.threads import in_ranges

ROWS, COLUMNS = 512, 8_192  # of a block: 16 MiB, and large enough for BLAS to be at its best


def nearest_neighbours(
    vectors: NDArray[np.float32], count: int, *, threads: int | None = None
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The ``count`` nearest other rows of each row, and their cosine distances.

    Args:
        vectors: Rows of unit length, shape (rows, dimensions).
        count: Neighbours of a row; fewer than the rows.
        threads: None is all cores; it changes the time alone.

    Returns:
        Rows and distances in [0, 2], both (rows, count), nearest first; of equally near rows the first.
    """
    similarity = np.full((len(vectors), count), -np.inf, dtype=np.float32)
    nearest = np.full((len(vectors), count), -1, dtype=np.int32)

    def work(start: int, stop: int) -> None:
        for left in range(0, len(vectors), COLUMNS):
            block = vectors[start:stop] @ vectors[left : left + COLUMNS].T
            _keep_best(block, start, left, similarity[start:stop], nearest[start:stop])

    with in_ranges(threads) as ranges:
        ranges(work, len(vectors), ROWS)
    return nearest, np.clip(1 - similarity, 0, 2)


@njit(cache=True, nogil=True)  # type: ignore[misc]
def _keep_best(block, top, left, similarity, nearest):  # type: ignore[no-untyped-def]
    """Insert what is better than a row's worst so far into its sorted list; on real data that is rare after the first block."""
    last = similarity.shape[1] - 1
    for row in range(block.shape[0]):
        for column in range(block.shape[1]):
            value = block[row, column]
            if value > similarity[row, last] and top + row != left + column:
                place = last
                while place > 0 and similarity[row, place - 1] < value:
                    similarity[row, place] = similarity[row, place - 1]
                    nearest[row, place] = nearest[row, place - 1]
                    place -= 1
                similarity[row, place] = value
                nearest[row, place] = left + column
