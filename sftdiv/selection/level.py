"""Number of types k of a diversity level.

``k(level) = round(k_min + level * (k_max - k_min))``. Level 0 is the least diverse pool that still leaves
some choice in the draw (``slack``); level 1 draws on all types.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sftdiv.records import Ladder, SftdivError
from sftdiv.storage.validate import shown_value


def smallest_k(ladder: Ladder, weights: NDArray[np.float64], needed: float) -> int:
    """The smallest k whose pool weighs at least ``needed``.

    Args:
        ladder: Ladder of the examples.
        weights: Contribution of each example to the size (1, or its label tokens), shape (examples,).
        needed: Minimum weight of the pool; at most the sum of the weights.
    """
    weight_of_step = np.bincount(ladder.example_step, weights=weights, minlength=ladder.k_max + 1)
    # weight_from_end[k]: weight of the examples of step types - k and later; the pool of k starts one step later
    weight_from_end = np.cumsum(weight_of_step[::-1])
    return min(int(np.searchsorted(weight_from_end, needed - 1e-9)) + 1, ladder.k_max)


class LowestK(NamedTuple):
    """Number of types at level 0.

    Attributes:
        asked: ``selection.k_min`` as a number of types of the ladder.
        feasible: Smallest number of types whose pool holds slack x size.
    """

    asked: int
    feasible: int


def lowest_k(
    k_min: str | int | float, ladder: Ladder, weights: NDArray[np.float64], needed: float, *, types: int
) -> LowestK:
    """``selection.k_min`` as a number of types of this ladder, and the smallest feasible number.

    Args:
        k_min: ``auto`` for the smallest feasible k; a share of k_max in (0, 1); or a total number of
            types of all ladders, divided in proportion to their types.
        ladder: Ladder of the universe or of one stratum.
        weights: Contribution of each example to the size, shape (examples,).
        needed: Minimum weight of the pool of level 0.
        types: Total number of types of all ladders, as reported in ``k_max``.

    Raises:
        SftdivError: ``k_min`` is invalid.
    """
    feasible = smallest_k(ladder, weights, needed)
    if k_min == "auto":
        return LowestK(feasible, feasible)
    if isinstance(k_min, str) or not 0 < k_min <= types:
        raise SftdivError(
            f"selection.k_min={shown_value(k_min)} must be auto, a share in (0, 1) or a number of types up to {types}"
        )
    share = float(k_min) if k_min < 1 else k_min / types
    return LowestK(max(1, round(share * ladder.k_max)), feasible)


def check_pool(k_min: str | int | float, ladder: Ladder, k: int, lowest: LowestK) -> None:
    """Reject a level whose pool is too small; levels above, whose pools are large enough, need no smaller ``k_min``.

    Args:
        k_min: ``selection.k_min``, for the message.
        ladder: Ladder of the universe.
        k: Number of types at the level.
        lowest: Result of `lowest_k`.

    Raises:
        SftdivError: The pool of ``k`` types holds less than slack x size.
    """
    if k < lowest.feasible:
        feasible = lowest.feasible
        raise SftdivError(
            f"selection.k_min={k_min} leaves a pool that is too small: {k} of {ladder.k_max} types hold "
            f"{len(ladder.pool(k)):,} examples; the size and the slack need k_min >= {feasible} "
            f"(share {feasible / ladder.k_max:.3f}). Use that, a smaller size or slack, or a higher level"
        )


def k_of_level(level: float, k_min: int, k_max: int) -> int:
    """Number of types at a level in [0, 1].

    Raises:
        SftdivError: The level is outside [0, 1].
    """
    if not 0 <= level <= 1:
        raise SftdivError(f"diversity_level={level} is outside [0, 1]: 0 is the least diverse set, 1 the most")
    return round(k_min + level * (k_max - k_min))
