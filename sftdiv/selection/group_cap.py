"""At most so many examples of one text: a limit on the copies of an instruction or response in the universe.

Without a limit, one text with many counterparts supplies most of a subset (805 instructions of pool-117k have
41,334 responses), and the support of a type counts copies instead of distinct texts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

GROUPINGS = ("side", "instruction", "response", "both")


def within_cap(
    groupings: Sequence[Sequence[str]],
    ids: Sequence[str],
    selectable: NDArray[np.bool_],
    most: int,
    *,
    seed: int,
) -> NDArray[np.bool_]:
    """Mask of selectable examples of which each group holds at most ``most``, shape (examples,).

    Examples are taken in the order of a salted hash of their id, each if all of its groups have room: the choice
    does not depend on the order of the corpus. The time is linear in the examples, but for the sort.

    Args:
        groupings: For each grouping, the group of every example, such as its normalised text.
        ids: Id of each example.
        selectable: Mask of the examples to choose from, shape (examples,).
        most: Maximum number of examples of one group.
        seed: Seed of the order.
    """
    rows = np.flatnonzero(selectable)
    digests = [hashlib.blake2b(f"cap:{seed}:{ids[row]}".encode(), digest_size=8).digest() for row in rows.tolist()]
    codes = [np.unique(np.asarray(groups, dtype=object)[rows], return_inverse=True)[1] for groups in groupings]
    counts = [np.zeros(len(rows), dtype=np.int64) for _ in codes]
    kept = np.zeros(len(selectable), dtype=bool)
    for position in sorted(range(len(rows)), key=digests.__getitem__):
        groups = [int(code[position]) for code in codes]
        if all(count[group] < most for count, group in zip(counts, groups, strict=True)):
            kept[rows[position]] = True
            for count, group in zip(counts, groups, strict=True):
                count[group] += 1
    return kept
