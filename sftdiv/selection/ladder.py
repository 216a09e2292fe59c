"""The ladder: in which order types are pruned, recorded once, so that every k and every nested pool can be read off it.

In: a sparse matrix, examples x types, and the types' ranks among equals. Out: a ``Ladder``.
``support`` (default) removes the live type with the smallest live support together with its examples (the paper's reverse-greedy pruning;
with one unit an example this removes the smallest topics first). ``sample`` removes the example whose loss costs least, the other reading
of the paper. ``random`` removes types in random order. The trade: a binary heap with lazy deletion instead of a bucket queue. It breaks
ties by the types' hash exactly, which a bucket's list cannot, at a log factor that the benchmark cannot see (see LOG.md).
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
        matrix: Units of the examples, shape (examples, types); each row holds at least one. Types that no row holds are not part of the
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
    by_rank = np.argsort(rank)
    support = np.diff(type_start)
    live_type, live_row = support > 0, np.ones(len(example_start) - 1, dtype=np.bool_)
    order, steps = np.empty(live_type.sum(), dtype=np.int64), np.zeros(len(example_start) - 1, dtype=np.int64)
    heap = [support[t] * types + rank[t] for t in np.flatnonzero(live_type)]
    heapq.heapify(heap)
    removed = 0
    while removed < len(order):
        key = heapq.heappop(heap)
        gone = by_rank[key % types]
        if not live_type[gone] or support[gone] != key // types:
            continue  # an outdated entry: the type has a smaller one in the heap, or is gone
        live_type[gone] = False
        order[removed] = gone
        removed += 1
        for row in holders[type_start[gone] : type_start[gone + 1]]:
            if live_row[row]:
                live_row[row] = False
                steps[row] = removed
                for other in types_held[example_start[row] : example_start[row + 1]]:
                    if live_type[other]:
                        support[other] -= 1
                        heapq.heappush(heap, support[other] * types + rank[other])
    return order, steps


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
