"""Greedy selection by scores that only fall: the same picks, with most scores out of date.

The score of an earlier step is an upper bound of the present one. So only the rows at or above a floor, a little below
the largest bound, catch up with the picks that they have missed. The largest of them is the next pick, as long as it is
not below the floor; then the floor is lowered. Rows below the floor wait, and later catch up with dozens of picks at
once, from the processor's cache. A loop that renews all scores after each pick reads all vectors from memory each time.

A row takes the same products with the same picks in the same order as in that loop, and a floor is the same for all:
scores are equal bit for bit, equal rows stay equal, and so are picks and ties.
Source: Minoux 1978, lazy evaluation; Hemmi et al. 2022 (NeurIPS, "Lazy and fast greedy MAP inference for determinantal
point process"), which defers the rows of the Cholesky factor.
Memory: the picked vectors in float64, 8 x picks x d bytes (31 MB for 10,000 picks in 384 dimensions), and two numbers
per row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sftdiv.vectors.products import dot
from sftdiv.vectors.threads import Ranges

CANDIDATES = 512  # rows that a floor should leave: enough for dozens of picks, few enough to renew for each of them
FIRST_GAP, LARGEST_GAP = 0.01, 0.9  # between the largest bound and the floor, as a share of the bound
ROWS = 512  # per range of work
BLOCK = 64  # picks that rows catch up with together: 192 KiB in 384 dimensions

Renew = Callable[[NDArray[np.int64], float], None]


def largest_first(scores: NDArray[np.float64], renew: Renew, ranges: Ranges) -> Iterator[int]:
    """Yield the row with the largest score, the first of several, again and again, each row once.

    Args:
        scores: Upper bounds of the scores, shape (rows,). A yielded row becomes minus infinity.
        renew: Receives rows and a floor, and lowers the scores of these rows to their present values; where the present
            value is below the floor, any upper bound of it below the floor will do.
        ranges: Work in threads; see `vectors.threads`.
    """
    gap = FIRST_GAP
    while True:
        largest = float(scores.max())
        floor = min(largest, (1 - gap) * largest)
        rows = np.flatnonzero(scores >= floor)
        ranges(_on_parts(renew, rows, floor), len(rows), ROWS)
        rows = rows[scores[rows] >= floor]
        if len(rows) < CANDIDATES:
            gap = min(2 * gap, LARGEST_GAP)
        elif len(rows) > 2 * CANDIDATES:
            gap *= 0.7
        while len(rows):
            best = int(rows[scores[rows].argmax()])
            if scores[best] < floor:
                break
            yield best
            scores[best] = -np.inf
            renew(rows, floor)


def _on_parts(renew: Renew, rows: NDArray[np.int64], floor: float) -> Callable[[int, int], None]:
    return lambda start, stop: renew(rows[start:stop], floor)


def largest_of_all(scores: NDArray[np.float64], renew: Callable[[], None]) -> Iterator[int]:
    """`largest_first` with all scores renewed after each pick, by one call; for a GPU, whose memory is fast enough."""
    while True:
        best = int(scores.argmax())
        yield best
        renew()
        scores[best] = -np.inf


@njit(cache=True, nogil=True)
def lower_to_distance(
    vectors: NDArray[np.float32],
    norms: NDArray[np.float64],
    picked: NDArray[np.float64],
    picked_norms: NDArray[np.float64],
    nearest: NDArray[np.float64],
    seen: NDArray[np.int64],
    rows: NDArray[np.int64],
    floor: float,
) -> None:
    """Lower squared distances to the nearest picked vector, while they are not below the floor.

    Args:
        vectors: Vectors, shape (examples, d).
        norms: Their squared lengths, shape (examples,).
        picked: Picked vectors, shape (picks, d).
        picked_norms: Their squared lengths, shape (picks,).
        nearest: Squared distances to the nearest of the picks seen, shape (examples,); updated in place.
        seen: Number of picks that each row has been compared with, shape (examples,); updated in place.
        rows: Rows that are renewed.
        floor: Rows with a smaller value wait.
    """
    for start in range(_first_unseen(nearest, seen, rows, floor), len(picked), BLOCK):
        stop = min(start + BLOCK, len(picked))
        for row in rows:
            value, pick = nearest[row], seen[row]
            while pick < stop and value >= floor:
                squared = norms[row] + picked_norms[pick] - 2 * dot(vectors[row], picked[pick])
                value = min(value, max(squared, 0.0))
                pick += 1
            nearest[row], seen[row] = value, pick


@njit(cache=True, nogil=True)
def lower_by_squares(
    vectors: NDArray[np.float32],
    projected: NDArray[np.float64],
    factors: NDArray[np.float64],
    residual: NDArray[np.float64],
    seen: NDArray[np.int64],
    rows: NDArray[np.int64],
    floor: float,
) -> None:
    """Subtract squared products with the picks' projected vectors from residuals, while these are not below the floor.

    Args:
        vectors: Vectors, shape (examples, d).
        projected: Projected vectors of the picks, shape (picks, d).
        factors: Factors of the squares, shape (picks,).
        residual: Residuals after the picks seen, shape (examples,); updated in place.
        seen: Number of picks subtracted from each row, shape (examples,); updated in place.
        rows: Rows that are renewed.
        floor: Rows with a smaller residual wait.
    """
    for start in range(_first_unseen(residual, seen, rows, floor), len(projected), BLOCK):
        stop = min(start + BLOCK, len(projected))
        for row in rows:
            value, pick = residual[row], seen[row]
            while pick < stop and value >= floor:
                value -= factors[pick] * dot(vectors[row], projected[pick]) ** 2
                pick += 1
            residual[row], seen[row] = value, pick


@njit(cache=True, nogil=True)
def _first_unseen(scores: NDArray[np.float64], seen: NDArray[np.int64], rows: NDArray[np.int64], floor: float) -> int:
    """The first pick that a row at or above the floor has not seen."""
    first = np.iinfo(np.int64).max
    for row in rows:
        if scores[row] >= floor:
            first = min(first, seen[row])
    return first


@njit(cache=True, nogil=True)
def subtract_square(matrix: NDArray[np.float64], vector: NDArray[np.float64], factor: float) -> None:
    """Subtract ``factor v v^T`` from a matrix in place, without a second matrix."""
    for row in range(len(vector)):
        for column in range(len(vector)):
            matrix[row, column] -= factor * (vector[row] * vector[column])
