"""The ladder: in which order types are pruned, recorded once, so that every k and every nested pool can be read off it.

In: a sparse matrix, examples x types, and the types' ranks among equals. Out: a ``Ladder``.
``support`` (default) removes the live type with the smallest live support together with its
examples (the paper's reverse-greedy pruning; with one unit an example this removes the smallest
topics first). ``sample`` removes the example whose loss costs least, the other reading of the
paper. ``random`` removes types in random order. The trade: an indexed binary heap of the types
instead of a bucket queue. It breaks ties by the types' hash exactly, which a bucket's list cannot;
it holds no more than the types, and a support that falls by one moves little in it, so that time
stays in proportion to the non-zeros (benchmarks/selection).
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
from sftdiv.selection.incidence import incidence

PRUNINGS = ("support", "sample", "random")


def build_ladder(matrix: scipy.sparse.csr_array, ties: NDArray[np.int64], *, prune: str) -> Ladder:
    """Prune a set of examples down to nothing and record the order.

    Args:
        matrix: Units of the examples, shape (examples, types); each row holds at least one. Types
            that no row holds are not part of the
        ladder.
        ties: Rank of each type among equals, shape (types,); see ``tie_ranks``.
        prune: One of ``PRUNINGS``.

    Raises:
        SftdivError: If ``prune`` is unknown.
    """
    if prune not in PRUNINGS:
        raise SftdivError(f"selection.prune={prune!r} is unknown. Known: {', '.join(PRUNINGS)}")
    held = incidence(matrix)
    if prune == "support":
        return Ladder(*_prune_by_support(*held, ties))
    if prune == "sample":
        return Ladder(*_prune_by_sample(*held, ties))
    live = np.flatnonzero(np.diff(held.type_start))
    order = live[np.argsort(ties[live])]
    return Ladder(order, _steps_of_order(matrix, order))


def tie_ranks(names: Sequence[str], *, seed: int) -> NDArray[np.int64]:
    """Rank of each type in the order of its name's hash with ``seed``, shape (types,): the order of rows and columns does not matter."""
    digests = [hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=16).digest() for name in names]
    ranks = np.empty(len(names), dtype=np.int64)
    ranks[sorted(range(len(names)), key=digests.__getitem__)] = np.arange(len(names))
    return ranks


def _steps_of_order(matrix: scipy.sparse.csr_array, order: NDArray[np.int64]) -> NDArray[np.int64]:
    """The step at which each example goes when types go in a fixed order: that of its first type to go."""
    step_of_type = np.zeros(matrix.shape[1], dtype=np.int64)
    step_of_type[order] = np.arange(1, len(order) + 1)
    return np.minimum.reduceat(step_of_type[matrix.indices], matrix.indptr[:-1])


@njit(cache=True)  # type: ignore[misc]
def _prune_by_support(example_start, types_held, type_start, holders, rank):  # type: ignore[no-untyped-def]
    types = len(rank)
    support = np.diff(type_start)
    key = support * types + rank  # least support first, equal supports by rank
    heap = np.argsort(key)
    heap = heap[support[heap] > 0]  # sorted, and so a heap
    place = np.full(types, -1, dtype=np.int64)
    place[heap] = np.arange(len(heap))
    order, steps = np.empty(len(heap), dtype=np.int64), np.zeros(len(example_start) - 1, dtype=np.int64)
    for removed in range(len(order)):
        gone = heap[0]
        order[removed] = gone
        _remove_first(heap, len(order) - removed, place, key)
        for row in holders[type_start[gone] : type_start[gone + 1]]:
            if steps[row] == 0:
                steps[row] = removed + 1
                for other in types_held[example_start[row] : example_start[row + 1]]:
                    if place[other] >= 0:
                        key[other] -= types
                        _rise(heap, place, key, other)
    return order, steps


@njit(cache=True)  # type: ignore[misc]
def _rise(heap, place, key, moved):  # type: ignore[no-untyped-def]
    at = place[moved]
    while at > 0 and key[heap[(at - 1) // 2]] > key[moved]:
        heap[at] = heap[(at - 1) // 2]
        place[heap[at]] = at
        at = (at - 1) // 2
    heap[at] = moved
    place[moved] = at


@njit(cache=True)  # type: ignore[misc]
def _remove_first(heap, size, place, key):  # type: ignore[no-untyped-def]
    place[heap[0]] = -1
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
        place[heap[at]] = at
        at, child = child, 2 * child + 1
    heap[at] = moved
    place[moved] = at


@njit(cache=True)  # type: ignore[misc]
def _prune_by_sample(example_start, types_held, type_start, holders, rank):  # type: ignore[no-untyped-def]
    support = np.diff(type_start)
    order, steps = np.empty((support > 0).sum(), dtype=np.int64), np.zeros(len(example_start) - 1, dtype=np.int64)
    # An example's tie rank is the smallest of its types': it depends on names alone.
    heap = [
        (
            np.sum(1.0 / support[types_held[example_start[row] : example_start[row + 1]]]),
            rank[types_held[example_start[row] : example_start[row + 1]]].min(),
            row,
        )
        for row in range(len(example_start) - 1)
    ]
    heapq.heapify(heap)
    dead = 0
    while heap:
        loss, tie, row = heapq.heappop(heap)
        held = types_held[example_start[row] : example_start[row + 1]]
        now = np.sum(1.0 / support[held])
        if now > loss:  # supports only fall, so losses only rise: the entry was a lower bound
            heapq.heappush(heap, (now, tie, row))
            continue
        steps[row] = dead + 1
        for held_type in held:
            support[held_type] -= 1
            if support[held_type] == 0:
                order[dead] = held_type
                dead += 1
    return order, steps
