"""At most so many examples of one text: a limit on the copies of an instruction or response in the universe.

Without a limit, one text with many counterparts supplies most of a subset (805 instructions of pool-117k have
41,334 responses), and the support of a type counts copies instead of distinct texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sftdiv.text.string_columns import codes_of, salted_hashes

if TYPE_CHECKING:
    from sftdiv.text.string_columns import Strings

GROUPINGS = ("side", "instruction", "response", "both")


def within_cap(
    groupings: Sequence[Strings],
    ids: Strings,
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
    in_order = rows[np.argsort(salted_hashes(ids, f"cap:{seed}", rows), kind="stable")]
    groups = [codes_of(grouping) for grouping in groupings]
    counts = [np.zeros(len(names), dtype=np.int64) for names, _ in groups]
    kept = np.zeros(len(selectable), dtype=bool)
    for row in in_order:
        codes = [of_row[row] for _, of_row in groups]
        if all(count[code] < most for count, code in zip(counts, codes, strict=True)):
            kept[row] = True
            for count, code in zip(counts, codes, strict=True):
                count[code] += 1
    return kept
