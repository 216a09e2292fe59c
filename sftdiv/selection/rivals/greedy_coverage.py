"""Lazy greedy maximisation of a sum of concave functions of the weights that a subset collects for each unit type.

``f(S) = sum over types t of phi(sum over examples e in S of w[e, t])`` with a concave, increasing ``phi``, also known
as feature-based selection (Lin and Bilmes 2011; apricot: Schreiber et al. 2020, arXiv 1906.03543). The gain of an
example only falls while others are added (submodularity), so a gain computed earlier is an upper bound: only the
example at the top of a heap is evaluated again (Minoux 1978). The picks are those of the plain greedy algorithm.

Time is proportional to the non-zeros of the matrix for each time an example is evaluated, about once or twice in all;
memory is that of the sparse matrix. Ties go to the earlier row.
"""

from __future__ import annotations

import heapq

import numpy as np
import scipy.sparse
from numba import njit
from numpy.typing import NDArray

# Gains of adding the weight w to a type that has collected x. The kernel takes the number, since it is compiled.
OBJECTIVES = {"set_cover": 0, "sqrt": 1, "mig": 2}
EXPONENT, OFFSET = 0.8, 1e-6  # of MIG: phi(x) = (x + OFFSET)^EXPONENT


def greedy_order(
    matrix: scipy.sparse.csr_array, weights: NDArray[np.float64], budget: float, *, objective: str
) -> NDArray[np.int64]:
    """Rows in the order in which the greedy algorithm adds them, until their weights reach the budget.

    Args:
        matrix: Weight of each type in each example, not negative, shape (examples, types).
        weights: Contribution of each example to the budget (1, or its label tokens), shape (examples,).
        budget: Sum of weights at which selection stops.
        objective: ``set_cover``: phi(x) = min(x, 1) for weights of 1. When no example adds a type any more, all types
            count as not covered again, so that an order of every length is defined. ``sqrt``: phi(x) = sqrt(x).
            ``mig``: phi(x) = (x + 1e-6)^0.8 with the gain in first order, w phi'(x).
    """
    starts, types = matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32)
    values = matrix.data.astype(np.float64)
    number = OBJECTIVES[objective]
    order = _greedy(starts, types, values, matrix.shape[1], weights.astype(np.float64), float(budget), number)
    return order.astype(np.int64)


@njit(cache=True)
def _gain(
    row: int,
    starts: NDArray[np.int64],
    types: NDArray[np.int32],
    values: NDArray[np.float64],
    collected: NDArray[np.float64],
    objective: int,
) -> float:
    """What an example adds to the objective, given what each type has collected."""
    gain = 0.0
    for entry in range(starts[row], starts[row + 1]):
        before, added = collected[types[entry]], values[entry]
        if objective == 0:
            gain += min(before + added, 1.0) - before
        elif objective == 1:
            gain += np.sqrt(before + added) - np.sqrt(before)
        else:
            gain += added * EXPONENT * (before + OFFSET) ** (EXPONENT - 1.0)
    return gain


@njit(cache=True)
def _greedy(
    starts: NDArray[np.int64],
    types: NDArray[np.int32],
    values: NDArray[np.float64],
    type_count: int,
    weights: NDArray[np.float64],
    budget: float,
    objective: int,
) -> NDArray[np.int64]:
    """Rows in the order added; see `greedy_order`."""
    examples = len(starts) - 1
    collected = np.zeros(type_count)
    order, count, weight = np.empty(examples, dtype=np.int64), 0, 0.0
    heap = [(-_gain(row, starts, types, values, collected, objective), row) for row in range(examples)]
    heapq.heapify(heap)
    while weight < budget and heap:
        row = heapq.heappop(heap)[1]
        entry = (-_gain(row, starts, types, values, collected, objective), row)
        if heap and entry > heap[0]:
            heapq.heappush(heap, entry)
            continue
        if objective == 0 and entry[0] == 0.0 and collected.any():  # no example adds a type: a new round
            collected[:] = 0.0
            heap.append(entry)
            heap = [(-_gain(other, starts, types, values, collected, objective), other) for _, other in heap]
            heapq.heapify(heap)
            continue
        order[count] = row
        count += 1
        weight += weights[row]
        for position in range(starts[row], starts[row + 1]):
            collected[types[position]] += values[position]
            if objective == 0:
                collected[types[position]] = min(collected[types[position]], 1.0)
    return order[:count]
