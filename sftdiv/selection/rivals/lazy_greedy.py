"""Kernels of facility location: gains of covering vectors, and the lazy greedy algorithm (Minoux 1978)."""

from __future__ import annotations

import heapq

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True)
def gains(
    starts: NDArray[np.int64],
    covered: NDArray[np.int32],
    similarity: NDArray[np.float64],
    copies: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Coverage that each vector adds to nothing, shape (distinct,); see `lazy_greedy`."""
    result = np.zeros(len(copies))
    for vector in range(len(copies)):
        for entry in range(starts[vector], starts[vector + 1]):
            result[vector] += copies[covered[entry]] * similarity[entry]
    return result


@njit(cache=True)
def lazy_greedy(
    starts: NDArray[np.int64],
    covered: NDArray[np.int32],
    similarity: NDArray[np.float64],
    copies: NDArray[np.float64],
    number: NDArray[np.int64],
    first_gains: NDArray[np.float64],
    bonus: NDArray[np.float64],
    scale: float,
    weights: NDArray[np.float64],
    budget: float,
) -> tuple[NDArray[np.int64], float]:
    """Examples in greedy order until their weights reach the budget, and the coverage of all.

    Args:
        starts: Start of each vector's entries, and the end, shape (distinct + 1,).
        covered: Vectors that it covers, shape (entries,).
        similarity: Similarities to them, at least 0, shape (entries,).
        copies: Number of examples of each distinct vector, shape (distinct,).
        number: Distinct vector of each example, shape (examples,).
        first_gains: Result of `gains`.
        bonus: Constant part of an example's score, shape (examples,).
        scale: Factor of the coverage in the score.
        weights: Contribution of each example to the budget, shape (examples,).
        budget: Sum of weights at which selection stops.
    """
    coverage = np.zeros(len(copies))
    order = np.empty(len(number), dtype=np.int64)
    # the largest score first, then the first example
    heap = [(-(scale * first_gains[number[example]] + bonus[example]), example) for example in range(len(number))]
    heapq.heapify(heap)
    count, reached, total = 0, 0.0, 0.0
    while reached < budget - 1e-9 and heap:
        _, example = heapq.heappop(heap)
        vector, gain = number[example], 0.0
        for entry in range(starts[vector], starts[vector + 1]):
            added = similarity[entry] - coverage[covered[entry]]
            if added > 0:
                gain += copies[covered[entry]] * added
        candidate = (-(scale * gain + bonus[example]), example)
        if heap and candidate > heap[0]:  # others may add more; their scores are upper bounds
            heapq.heappush(heap, candidate)
            continue
        for entry in range(starts[vector], starts[vector + 1]):
            if similarity[entry] > coverage[covered[entry]]:
                coverage[covered[entry]] = similarity[entry]
        total += gain
        order[count] = example
        count += 1
        reached += weights[example]
    return order[:count], total
