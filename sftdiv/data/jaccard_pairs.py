"""Near duplicates among texts that share a bucket, by the exact Jaccard similarity of their shingles.

The result is not all pairs but enough of them to connect, in each bucket, all texts that are linked
directly or through others. A bucket is searched breadth first: m texts that are all alike cost m
comparisons instead of m squared. A bucket of m unrelated texts costs m squared, which bands of several
rows make rare.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sftdiv.data.shingles import ShingleSets


def similar_pairs(
    sets: ShingleSets, members: NDArray[np.int64], starts: NDArray[np.int64], *, threshold: float
) -> NDArray[np.int64]:
    """Pairs of sets with a Jaccard similarity of at least ``threshold`` that span the components of each bucket.

    Args:
        sets: Shingles of each set.
        members: Sets of all buckets, end to end, shape (members,).
        starts: Start of each bucket in ``members``, then its length, shape (buckets + 1,).
        threshold: Jaccard similarity, in (0, 1].

    Returns:
        Pairs of sets, shape (pairs, 2), int64.
    """
    pairs: NDArray[np.int64] = _search_buckets(members, starts, sets.flat, sets.offsets, threshold)
    return pairs


@njit(cache=True)
def jaccard(left: NDArray[np.uint32], right: NDArray[np.uint32]) -> float:
    """|A and B| / |A or B| (Jaccard 1901) of two non-empty ascending arrays without repeats."""
    shared = i = j = 0
    while i < len(left) and j < len(right):
        if left[i] == right[j]:
            shared += 1
            i += 1
            j += 1
        elif left[i] < right[j]:
            i += 1
        else:
            j += 1
    return shared / (len(left) + len(right) - shared)


@njit(cache=True)
def _search_buckets(
    members: NDArray[np.int64],
    starts: NDArray[np.int64],
    flat: NDArray[np.uint32],
    offsets: NDArray[np.int64],
    threshold: float,
) -> NDArray[np.int64]:
    pairs = np.empty((len(members), 2), dtype=np.int64)
    count = 0
    for bucket in range(len(starts) - 1):
        queue = members[starts[bucket] : starts[bucket + 1]].copy()
        reached = 0  # queue[:reached] belongs to a component; the rest waits for the first similar set
        for head in range(len(queue)):
            reached = max(reached, head + 1)
            left = flat[offsets[queue[head]] : offsets[queue[head] + 1]]
            for position in range(reached, len(queue)):
                right = flat[offsets[queue[position]] : offsets[queue[position] + 1]]
                longest = max(len(left), len(right))
                if min(len(left), len(right)) < threshold * longest:  # then the similarity is below the threshold
                    continue
                if jaccard(left, right) >= threshold:
                    pairs[count] = queue[head], queue[position]
                    count += 1
                    queue[position], queue[reached] = queue[reached], queue[position]
                    reached += 1
    return pairs[:count]
