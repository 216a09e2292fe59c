"""The ladder: the order in which types are pruned, which determines every k and every nested pool.

It is built from a sparse matrix, examples x types, and the rank of each type among equals.
``support`` (default) removes the type with the smallest remaining support, and its examples (the
paper's reverse-greedy pruning; with one unit per example this removes the smallest topics first).
``sample`` removes the example whose loss costs least, the other reading of the paper. ``random``
removes types in random order.

An indexed binary heap of the types is used instead of a bucket queue, since it breaks ties exactly by
the hash of the types. It holds only the types, and decrementing a support moves an entry by a few
positions, so that the time stays proportional to the non-zeros (benchmarks/selection, benchmarks/scale.md).

``batch`` prunes by support in rounds: each removes that share of the remaining types, those of the least support
at its start, and only then counts the supports anew. The result is close to the exact one (benchmarks/scale.md),
and about ``(1 + log(batch x types)) / batch`` rounds replace as many as there are types. On one machine it takes
the same O(non-zeros x log types); it is for a corpus in shards, where a round sends the removed types out and the
decrements of the supports back, O(types) each way.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Sequence

import numpy as np
import scipy.sparse
from numba import njit
from numpy.typing import NDArray

from sftdiv.records import Ladder, SftdivError
from sftdiv.selection.incidence import Int32s, Int64s, incidence, supports
from sftdiv.storage.validate import shown_value

PRUNINGS = ("support", "sample", "random")


def build_ladder(
    matrix: scipy.sparse.csr_array, ties: Int64s, *, prune: str, batch: float = 0.0, rows: Int64s | None = None
) -> Ladder:
    """Remove types until no example remains and record the order.

    Args:
        matrix: Units of the examples, shape (examples, types). Types without examples are not part of the ladder.
        ties: Rank of each type among equals, shape (types,); see `tie_ranks`.
        prune: One of ``PRUNINGS``.
        batch: Share of the remaining types that a round of ``prune=support`` removes, at least one type; 0 for the
            exact order.
        rows: Rows of the matrix that the ladder is built for, each with at least one type; None for all.

    Raises:
        SftdivError: ``prune`` is unknown.
    """
    if prune not in PRUNINGS:
        raise SftdivError(f"selection.prune={shown_value(prune)} is unknown. Known: {', '.join(PRUNINGS)}")
    if prune == "random":
        live = np.flatnonzero(supports(matrix, rows))
        order = live[np.argsort(ties[live])]
        return Ladder(order, _steps_of_order(matrix if rows is None else matrix[rows], order))
    index = incidence(matrix, rows)
    return Ladder(*(_prune_by_support(*index, ties, batch) if prune == "support" else _prune_by_sample(*index, ties)))


def tie_ranks(names: Sequence[str], *, seed: int) -> NDArray[np.int64]:
    """Rank of each type by the hash of its name with ``seed``, shape (types,); independent of the order of names."""
    digests = [hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=16).digest() for name in names]
    ranks = np.empty(len(names), dtype=np.int64)
    ranks[sorted(range(len(names)), key=digests.__getitem__)] = np.arange(len(names))
    return ranks


def _steps_of_order(matrix: scipy.sparse.csr_array, order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Step at which each example is removed, with its first type, when types are removed in a fixed order."""
    step_of_type = np.zeros(matrix.shape[1], dtype=np.int64)
    step_of_type[order] = np.arange(1, len(order) + 1)
    return np.minimum.reduceat(step_of_type[matrix.indices], matrix.indptr[:-1])


@njit(cache=True)
def _prune_by_support(
    starts: Int64s, ends: Int64s, types_of: Int32s, type_start: Int64s, holders: Int32s, rank: Int64s, batch: float
) -> tuple[Int64s, Int64s]:
    """Types in the order removed, and the step at which each example is removed."""
    types = len(rank)
    support = np.diff(type_start)
    key = support * types + rank  # least support first, equal supports by rank
    heap = np.argsort(key)
    heap = heap[support[heap] > 0]  # sorted, and therefore a heap
    position = np.full(types, -1, dtype=np.int64)  # position of each type in the heap; -1 once removed
    position[heap] = np.arange(len(heap))
    order, steps = np.empty(len(heap), dtype=np.int64), np.zeros(len(starts), dtype=np.int64)
    done = 0
    while done < len(order):
        end = done + max(1, int(batch * (len(order) - done)))
        for step in range(done, end):
            order[step] = heap[0]
            _remove_first(heap, len(order) - step, position, key)
        for step in range(done, end):
            for row in holders[type_start[order[step]] : type_start[order[step] + 1]]:
                if steps[row] == 0:
                    steps[row] = step + 1
                    for row_type in types_of[starts[row] : ends[row]]:
                        if position[row_type] >= 0:
                            key[row_type] -= types
                            _sift_up(heap, position, key, row_type)
        done = end
    return order, steps


@njit(cache=True)
def _sift_up(heap: Int64s, position: Int64s, key: Int64s, moved: int) -> None:
    """Move a type whose key has fallen towards the front of the heap."""
    at = position[moved]
    while at > 0 and key[heap[(at - 1) // 2]] > key[moved]:
        heap[at] = heap[(at - 1) // 2]
        position[heap[at]] = at
        at = (at - 1) // 2
    heap[at] = moved
    position[moved] = at


@njit(cache=True)
def _remove_first(heap: Int64s, size: int, position: Int64s, key: Int64s) -> None:
    """Remove the first of the ``size`` types in the heap."""
    position[heap[0]] = -1
    size -= 1
    if size == 0:
        return
    moved, at, child = heap[size], 0, 1
    while child < size:
        if child + 1 < size and key[heap[child + 1]] < key[heap[child]]:
            child += 1
        if key[heap[child]] >= key[moved]:
            break
        heap[at] = heap[child]
        position[heap[at]] = at
        at, child = child, 2 * child + 1
    heap[at] = moved
    position[moved] = at


@njit(cache=True)
def _prune_by_sample(
    starts: Int64s, ends: Int64s, types_of: Int32s, type_start: Int64s, holders: Int32s, rank: Int64s
) -> tuple[Int64s, Int64s]:
    """Types in the order removed, and the step at which each example is removed."""
    support = np.diff(type_start)
    order, steps = np.empty((support > 0).sum(), dtype=np.int64), np.zeros(len(starts), dtype=np.int64)
    # The tie rank of an example is the smallest rank of its types, so it depends only on their names.
    heap = [
        (
            np.sum(1.0 / support[types_of[starts[row] : ends[row]]]),
            rank[types_of[starts[row] : ends[row]]].min(),
            row,
        )
        for row in range(len(starts))
    ]
    heapq.heapify(heap)
    removed = 0
    while heap:
        loss, tie, row = heapq.heappop(heap)
        row_types = types_of[starts[row] : ends[row]]
        current = np.sum(1.0 / support[row_types])
        if current > loss:  # supports only fall, so losses only rise: the entry was a lower bound
            heapq.heappush(heap, (current, tie, row))
            continue
        steps[row] = removed + 1
        for row_type in row_types:
            support[row_type] -= 1
            if support[row_type] == 0:
                order[removed] = row_type
                removed += 1
    return order, steps
