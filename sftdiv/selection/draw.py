"""Even draw: distinct examples of a pool, with every type represented as evenly as possible.

Until the size is reached: take the type with the fewest drawn holders (ties: rarer first, then
random), draw one of its undrawn holders uniformly, and count it for all its types. A type without
undrawn holders is removed. The time is linear in the non-zeros of the pool, times the logarithm of
the number of types (a heap).

With scores, a type's holders are drawn with probability proportional to theirs, without replacement. Each
holder of each type gets an exponential waiting time of that rate, and the type takes its holders in the order
of these times (Efraimidis and Spirakis 2006); holders that other types have drawn are passed over, which leaves
the order of the others a weighted draw.
"""

from __future__ import annotations

import heapq

import numpy as np
import scipy.sparse
from numba import njit
from numpy.typing import NDArray

from sftdiv.selection.incidence import Incidence, Int32s, Int64s, incidence


def draw_evenly(
    matrix: scipy.sparse.csr_array,
    weights: NDArray[np.float64],
    size: float,
    *,
    rng: np.random.Generator,
    scores: NDArray[np.float64] | None = None,
    rows: Int64s | None = None,
    rarest_first: bool = True,
) -> Int64s:
    """Positions in a pool, in the order drawn, until their weights reach ``size``.

    Args:
        matrix: Units of the examples, shape (examples, types).
        weights: Contribution of each example to ``size`` (1, or its label tokens), shape (pool,).
        size: Sum of weights at which drawing stops; with weights of 1, the number of examples.
        rng: Generator that breaks ties between types and draws among a type's holders.
        scores: Score of each example, not negative, shape (pool,): a type's holders are drawn with probability
            proportional to it, those of score 0 last. None for a uniform draw.
        rows: Rows of the matrix that form the pool, each with at least one type, shape (pool,); None for all.
        rarest_first: Whether, of the types with the fewest drawn holders, the rarest is next; else a random one. Where
            the size is far below the number of types, most types never have their turn. The rarest ones are then all
            that is asked for, and their holders may have few types besides; `benchmarks/level_dose.md` compares them.
    """
    index = incidence(matrix, rows)
    support = np.diff(index.type_start)
    rank = np.empty(len(support), dtype=np.int64)
    rank[np.lexsort((rng.random(len(support)), support if rarest_first else np.zeros_like(support)))] = np.arange(
        len(support)
    )
    if scores is not None:
        _sort_by_waiting_time(index, scores, rng)
    return _draw(*index, rank, weights, size, rng, scores is not None)


def _sort_by_waiting_time(index: Incidence, scores: NDArray[np.float64], rng: np.random.Generator) -> None:
    """Sort the holders of each type by descending waiting time, in place: a weighted draw takes the last first."""
    with np.errstate(divide="ignore"):
        waiting = rng.standard_exponential(len(index.holders)) / scores[index.holders]  # infinite for a score of 0
    type_of = np.repeat(np.arange(len(index.type_start) - 1), np.diff(index.type_start))
    index.holders[:] = index.holders[np.lexsort((-waiting, type_of))]


@njit(cache=True)
def _draw(
    starts: Int64s,
    ends: Int64s,
    types_of: Int32s,
    type_start: Int64s,
    holders: Int32s,
    rank: Int64s,
    weights: NDArray[np.float64],
    size: float,
    rng: np.random.Generator,
    last_first: bool,
) -> Int64s:
    """Rows in the order drawn; see ``draw_evenly``. ``holders`` is reordered in place.

    With ``last_first`` a type takes its last undrawn holder instead of a random one.
    """
    types = len(rank)
    by_rank = np.argsort(rank)
    undrawn = np.diff(type_start)  # number of undrawn holders of each type; they come first in its holders
    drawn_of_type = np.zeros(types, dtype=np.int64)
    drawn, is_drawn = np.empty(len(weights), dtype=np.int64), np.zeros(len(weights), dtype=np.bool_)
    count, weight = 0, 0.0
    heap = [rank[t] for t in np.flatnonzero(undrawn)]  # keys: drawn holders x types + rank
    heapq.heapify(heap)
    while weight < size and heap:
        key = heapq.heappop(heap)
        chosen = by_rank[key % types]
        if drawn_of_type[chosen] > key // types:  # counts only rise, so the entry was a lower bound
            heapq.heappush(heap, drawn_of_type[chosen] * types + rank[chosen])
            continue
        first = type_start[chosen]
        while undrawn[chosen] > 0:
            position = first + undrawn[chosen] - 1
            if not last_first:
                position = first + min(int(rng.random() * undrawn[chosen]), undrawn[chosen] - 1)
            row = holders[position]
            undrawn[chosen] -= 1
            holders[position] = holders[first + undrawn[chosen]]
            if not is_drawn[row]:
                is_drawn[row] = True
                drawn[count] = row
                count += 1
                weight += weights[row]
                for row_type in types_of[starts[row] : ends[row]]:
                    drawn_of_type[row_type] += 1
                heapq.heappush(heap, drawn_of_type[chosen] * types + rank[chosen])
                break
    return drawn[:count]
