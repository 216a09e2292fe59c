"""UMAP's layout: points in few dimensions, near where their fuzzy graph has weight and apart elsewhere.

In: a symmetric weighted graph and starting points. Out: the points moved, by the gradient of UMAP's
cross entropy with negative sampling (McInnes et al. 2018, arXiv 1802.03426, algorithm 5).
umap-learn moves both ends of an edge at once, so that several threads race, and with a seed it uses
one. Here each point moves itself against the others' places at the start of the epoch, and draws
its negatives from a hash of seed, epoch and edge: points can be moved in any order, on any number
of threads, to the same bits. The trade: a second copy of the points, and news travels once an
epoch.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import scipy.sparse
from numba import njit
from numpy.typing import NDArray

from sftdiv.units.clustering.threads import in_ranges

POINTS = 4_096  # moved by one thread at a time
NEGATIVES = 5  # draws an edge, as in umap-learn
LARGEST_STEP = 4.0  # in each dimension, as in umap-learn


def curve(min_dist: float) -> tuple[float, float]:
    """``a`` and ``b`` of the curve 1 / (1 + a d^2b) that is closest to 1 up to ``min_dist`` and exp(min_dist - d) beyond (spread 1)."""
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
        start: Where the points are at first, shape (points, dimensions); about 10 wide.
        epochs: Rounds in which the heaviest edges pull once and lighter ones in proportion; the
            steps shrink linearly to nothing.
        min_dist: Distance below which points are not pulled closer.
        seed: Of the negative samples.
        threads: None is all cores; it changes the time alone.

    Returns:
        Where the points are in the end, shape (points, dimensions), float32.
    """
    a, b = (np.float32(value) for value in curve(min_dist))
    rate = (graph.data / graph.data.max()).astype(np.float32)
    here, there = start.astype(np.float32), np.empty_like(start, dtype=np.float32)
    links = graph.indptr.astype(np.int64), graph.indices.astype(np.int32), rate
    with in_ranges(threads) as ranges:
        for epoch in range(epochs):
            salt = np.uint64(seed * 1_000_003 + epoch)
            move = partial(_move, here, there, *links, a, b, epoch, np.float32(1 - epoch / epochs), salt)
            ranges(move, len(here), POINTS)
            here, there = there, here
    return here


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[misc]
def _move(here, there, starts, ends, rate, a, b, epoch, step, salt, top, end):  # type: ignore[no-untyped-def]
    points, dimensions = here.shape
    for point in range(top, end):
        place = there[point]
        place[:] = here[point]
        for edge in range(starts[point], starts[point + 1]):
            if np.floor((epoch + 1) * rate[edge]) == np.floor(epoch * rate[edge]):
                continue
            other = here[ends[edge]]
            for _ in range(2):  # an edge stands in the graph from both its ends, and each pulls both
                apart = _squared(place, other)
                if apart > 0:
                    power = apart**b
                    pull = np.float32(-2) * a * b * power / (apart * (a * power + np.float32(1)))
                    for d in range(dimensions):
                        place[d] += step * _clipped(pull * (place[d] - other[d]))
            draw = _mixed(salt ^ _mixed(np.uint64(edge)))
            for _ in range(NEGATIVES):
                draw = _mixed(draw)
                other = here[np.int64(draw % np.uint64(points))]
                apart = _squared(place, other)
                if apart > 0:
                    push = np.float32(2) * b / ((np.float32(0.001) + apart) * (a * apart**b + np.float32(1)))
                    for d in range(dimensions):
                        place[d] += step * _clipped(push * (place[d] - other[d]))


@njit(cache=True, inline="always")  # type: ignore[misc]
def _squared(left, right):  # type: ignore[no-untyped-def]
    total = np.float32(0)
    for d in range(left.shape[0]):
        total += (left[d] - right[d]) * (left[d] - right[d])
    return total


@njit(cache=True, inline="always")  # type: ignore[misc]
def _clipped(value):  # type: ignore[no-untyped-def]
    return min(max(value, np.float32(-LARGEST_STEP)), np.float32(LARGEST_STEP))


@njit(cache=True, inline="always")  # type: ignore[misc]
def _mixed(state):  # type: ignore[no-untyped-def]
    """SplitMix64 (Steele et al. 2014): the next of a sequence of 64-bit numbers that pass for random."""
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
