"""The even draw: distinct examples from a pool so that every type is represented as evenly as can be.

Until the size is reached: take the type with the fewest drawn holders (ties: rarer first, then
seeded), draw one of its undrawn members uniformly and count it for all its types. A type with no
undrawn member retires. Linear in the pool's non-zeros, but for the heap's log of the types.
"""

from __future__ import annotations

import heapq

import numpy as np
import scipy.sparse
from numba import njit
from numpy.typing import NDArray

from sftdiv.selection.incidence import incidence


def draw_evenly(
    matrix: scipy.sparse.csr_array, weights: NDArray[np.float64], size: float, *, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Rows of a pool, in the order drawn, until their weights reach ``size``.

    Args:
        matrix: Units of the pool's examples, shape (pool, types); each row holds at least one.
        weights: What each example counts towards ``size`` (1, or its label tokens), shape (pool,).
        size: Where to stop: with weights of 1, the number of examples.
        rng: Breaks ties between types and chooses among a type's members.
    """
    held = incidence(matrix)
    support = np.diff(held.type_start)
    rank = np.empty(len(support), dtype=np.int64)
    rank[np.lexsort((rng.random(len(support)), support))] = np.arange(len(support))
    return _draw(*held, rank, weights, size, rng)


@njit(cache=True)  # type: ignore[misc]
def _draw(example_start, types_held, type_start, members, rank, weights, size, rng):  # type: ignore[no-untyped-def]
    types = len(rank)
    by_rank = np.argsort(rank)
    undrawn = np.diff(type_start)  # a type's undrawn members are among its first so many
    drawn_of_type = np.zeros(types, dtype=np.int64)
    drawn, row_is_drawn, count, weight = (
        np.empty(len(weights), dtype=np.int64),
        np.zeros(len(weights), dtype=np.bool_),
        0,
        0.0,
    )
    heap = [rank[t] for t in np.flatnonzero(undrawn)]
    heapq.heapify(heap)
    while weight < size and heap:
        key = heapq.heappop(heap)
        chosen = by_rank[key % types]
        if drawn_of_type[chosen] > key // types:  # counts only rise, so the entry was a lower bound
            heapq.heappush(heap, drawn_of_type[chosen] * types + rank[chosen])
            continue
        first = type_start[chosen]
        while undrawn[chosen] > 0:
            at = first + min(int(rng.random() * undrawn[chosen]), undrawn[chosen] - 1)
            row = members[at]
            undrawn[chosen] -= 1
            members[at] = members[first + undrawn[chosen]]
            if not row_is_drawn[row]:
                row_is_drawn[row] = True
                drawn[count] = row
                count += 1
                weight += weights[row]
                for held in types_held[example_start[row] : example_start[row + 1]]:
                    drawn_of_type[held] += 1
                heapq.heappush(heap, drawn_of_type[chosen] * types + rank[chosen])
                break
    return drawn[:count]
