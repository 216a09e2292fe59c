"""Kernel of NovelSelect: keeps the distances of each example to its nearest selected ones, and their weighted sum."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True, nogil=True)
def insert(
    new: NDArray[np.float64],
    density: float,
    distances: NDArray[np.float64],
    weighted: NDArray[np.float64],
    of_rank: NDArray[np.float64],
    novelty: NDArray[np.float64],
    start: int,
    stop: int,
) -> None:
    """Insert the distance to a newly selected example into the sorted list of each row, and renew its novelty.

    Args:
        new: Distance of each row to the new example, shape (rows,).
        density: Weight of the new example.
        distances: Distances to the nearest selected examples, ascending, infinite where there is none yet, shape
            (rows, ranks); updated in place.
        weighted: The same distances times the weights of the selected examples, 0 where there is none; updated in
            place.
        of_rank: Weight of each rank, shape (ranks,).
        novelty: Sum of the weighted distances times the weights of their ranks, shape (rows,); updated in place,
            except for selected rows, whose novelty is minus infinity.
        start: First row.
        stop: Row after the last one.
    """
    last = distances.shape[1] - 1
    for row in range(start, stop):
        distance = new[row]
        if distance >= distances[row, last] or novelty[row] == -np.inf:
            continue
        rank = last
        while rank > 0 and distances[row, rank - 1] > distance:
            distances[row, rank] = distances[row, rank - 1]
            weighted[row, rank] = weighted[row, rank - 1]
            rank -= 1
        distances[row, rank] = distance
        weighted[row, rank] = density * distance
        total = 0.0
        for rank in range(last + 1):
            if distances[row, rank] == np.inf:
                break
            total += of_rank[rank] * weighted[row, rank]
        novelty[row] = total
