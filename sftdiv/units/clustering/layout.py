"""UMAP's layout: points in few dimensions, close where their fuzzy graph has weight and apart elsewhere.

`layout` moves initial positions along the gradient of UMAP's cross entropy with negative sampling
(McInnes et al. 2018, arXiv 1802.03426, algorithm 5). umap-learn moves both ends of an edge at once,
so that its threads race, and with a seed it uses a single one. Here each point moves itself
relative to the other points' positions at the start of the epoch, and draws its negatives from a
hash of seed, epoch and edge. Points can be moved in any order, on any number of threads, to the
same bits. This needs a second copy of the positions, and updates become visible only once per
epoch.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import scipy.sparse
from numba import njit
from numpy.typing import NDArray

from sftdiv.vectors.threads import in_ranges

POINTS = 4_096  # points per task of one thread
NEGATIVES = 5  # negative samples per edge, as in umap-learn
LARGEST_STEP = 4.0  # in each dimension, as in umap-learn


def curve(min_dist: float) -> tuple[float, float]:
    """Parameters ``a`` and ``b`` of UMAP's similarity curve 1 / (1 + a d^2b), with spread 1.

    The curve is fitted to 1 up to a distance of ``min_dist`` and to exp(min_dist - d) beyond it.
    """
    from scipy.optimize import curve_fit

    distance = np.linspace(0, 3, 300)
    target = np.where(distance < min_dist, 1.0, np.exp(min_dist - distance))
    (a, b), _ = curve_fit(lambda d, a, b: 1 / (1 + a * d ** (2 * b)), distance, target)
    return float(a), float(b)


def layout(
    graph: scipy.sparse.csr_array,
    start: NDArray[np.float32],
    *,
    epochs: int,
    min_dist: float,
    seed: int,
    threads: int | None = None,
) -> NDArray[np.float32]:
    """Lay a graph out.

    Args:
        graph: Symmetric weights in (0, 1], shape (points, points).
        start: Initial positions, shape (points, dimensions); about 10 wide.
        epochs: Number of epochs; in each, the heaviest edges pull once and lighter ones in
            proportion. The steps shrink linearly to zero.
        min_dist: Distance below which points are not pulled closer.
        seed: Seed of the negative samples.
        threads: Number of threads; None for all cores. Affects the run time only.

    Returns:
        Final positions, shape (points, dimensions), float32.
    """
    a, b = (np.float32(value) for value in curve(min_dist))
    rate = (graph.data / graph.data.max()).astype(np.float32)
    positions, updated = start.astype(np.float32), np.empty_like(start, dtype=np.float32)
    edges = graph.indptr.astype(np.int64), graph.indices.astype(np.int32), rate
    with in_ranges(threads) as ranges:
        for epoch in range(epochs):
            salt = np.uint64(seed * 1_000_003 + epoch)
            move = partial(_move, positions, updated, *edges, a, b, epoch, np.float32(1 - epoch / epochs), salt)
            ranges(move, len(positions), POINTS)
            positions, updated = updated, positions
    return positions


@njit(cache=True, nogil=True, error_model="numpy")
def _move(
    positions: NDArray[np.float32],
    updated: NDArray[np.float32],
    starts: NDArray[np.int64],
    ends: NDArray[np.int32],
    rate: NDArray[np.float32],
    a: np.float32,
    b: np.float32,
    epoch: int,
    step: np.float32,
    salt: np.uint64,
    first: int,
    last: int,
) -> None:
    """Move the points ``first`` to ``last`` (exclusive) by one epoch, from ``positions`` to ``updated``.

    Edge ``e`` of point ``p``, with ``starts[p] <= e < starts[p + 1]``, leads to ``ends[e]`` and
    pulls in the share ``rate[e]`` of the epochs.
    """
    points, dimensions = positions.shape
    for point in range(first, last):
        own = updated[point]
        own[:] = positions[point]
        for edge in range(starts[point], starts[point + 1]):
            if np.floor((epoch + 1) * rate[edge]) == np.floor(epoch * rate[edge]):
                continue
            neighbour = positions[ends[edge]]
            for _ in range(2):  # the graph holds an edge from both its ends, and each pulls both
                squared = _squared_distance(own, neighbour)
                if squared > 0:
                    power = squared**b
                    pull = np.float32(-2) * a * b * power / (squared * (a * power + np.float32(1)))
                    for d in range(dimensions):
                        own[d] += step * _clipped(pull * (own[d] - neighbour[d]))
            state = _split_mix(salt ^ _split_mix(np.uint64(edge)))
            for _ in range(NEGATIVES):
                state = _split_mix(state)
                negative = positions[np.int64(state % np.uint64(points))]
                squared = _squared_distance(own, negative)
                if squared > 0:
                    push = np.float32(2) * b / ((np.float32(0.001) + squared) * (a * squared**b + np.float32(1)))
                    for d in range(dimensions):
                        own[d] += step * _clipped(push * (own[d] - negative[d]))


@njit(cache=True, inline="always")
def _squared_distance(left: NDArray[np.float32], right: NDArray[np.float32]) -> np.float32:
    total = np.float32(0)
    for d in range(left.shape[0]):
        total += (left[d] - right[d]) * (left[d] - right[d])
    return total


@njit(cache=True, inline="always")
def _clipped(value: np.float32) -> np.float32:
    return min(max(value, np.float32(-LARGEST_STEP)), np.float32(LARGEST_STEP))


@njit(cache=True, inline="always")
def _split_mix(state: np.uint64) -> np.uint64:
    """The next state of SplitMix64 (Steele et al. 2014), a generator of 64-bit pseudo-random numbers."""
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
