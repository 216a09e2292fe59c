"""Which of the texts that share a bucket are near duplicates, by the exact Jaccard similarity of their shingles.

In: sets of shingles and buckets of candidates. Out: pairs, enough of them to join in each bucket
all that are linked, directly or through others. The trade: a bucket is searched breadth first, so
that m texts that are all alike cost m comparisons and not m squared; m that merely fell together
cost the square, which bands of several rows make rare.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sftdiv.data.shingles import ShingleSets


def similar_pairs(
    sets: ShingleSets, members: NDArray[np.int64], starts: NDArray[np.int64], *, threshold: float
) -> NDArray[np.int64]:
    """Pairs of sets with a Jaccard similarity of at least ``threshold`` that span the connected components of each bucket.

    Args:
        sets: Shingles of each set.
        members: Sets of all buckets, end to end, shape (members,).
        starts: Where in ``members`` each bucket starts, and its length at the end, shape (buckets + 1,).
        threshold: In (0, 1].

    Returns:
        Pairs of sets, shape (pairs, 2), int64.
    """
    pairs: NDArray[np.int64] = _search_buckets(members, starts, sets.flat, sets.offsets, threshold)
    return pairs


@njit(cache=True)  # type: ignore[misc]
def jaccard(one, other):  # type: ignore[no-untyped-def]
    """Shared over all of two ascending arrays without repeats: |A and B| / |A or B| (Jaccard 1901); both hold something."""
    shared = i = j = 0
    while i < len(one) and j < len(other):
        if one[i] == other[j]:
            shared += 1
            i += 1
            j += 1
        elif one[i] < other[j]:
            i += 1
        else:
            j += 1
    return shared / (len(one) + len(other) - shared)


@njit(cache=True)  # type: ignore[misc]
def _search_buckets(members, starts, flat, offsets, threshold):  # type: ignore[no-untyped-def]
    pairs = np.empty((len(members), 2), dtype=np.int64)
    found = 0
    for bucket in range(len(starts) - 1):
        queue = members[starts[bucket] : starts[bucket + 1]].copy()
        reached = 0  # queue[:reached] is in a component; the rest waits for the first that it is similar to
        for head in range(len(queue)):
            reached = max(reached, head + 1)
            one = flat[offsets[queue[head]] : offsets[queue[head] + 1]]
            for position in range(reached, len(queue)):
                other = flat[offsets[queue[position]] : offsets[queue[position] + 1]]
                longest = max(len(one), len(other))
                if min(len(one), len(other)) < threshold * longest:  # then so is their similarity
                    continue
                if jaccard(one, other) >= threshold:
                    pairs[found] = queue[head], queue[position]
                    found += 1
                    queue[position], queue[reached] = queue[reached], queue[position]
                    reached += 1
    return pairs[:found]
