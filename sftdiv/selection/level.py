"""From a diversity level to a number of types k.

``k(level) = round(k_min + level * (k_max - k_min))``: level 0 is the least diverse set that can
still be drawn with some choice left (``slack``), level 1 draws on all types.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sftdiv.records import Ladder, SftdivError


def smallest_k(ladder: Ladder, weights: NDArray[np.float64], needed: float) -> int:
    """The smallest k whose pool still weighs at least ``needed``.

    Args:
        ladder: Over the examples that ``weights`` weighs.
        weights: What each example counts towards the size (1, or its label tokens), shape (examples,).
        needed: The weight that the pool must hold; at most the sum of the weights.
    """
    weight_of_step = np.bincount(ladder.example_step, weights=weights, minlength=ladder.k_max + 1)
    pool_weight = np.cumsum(
        weight_of_step[::-1]
    )  # [k] is the weight of steps types - k and later; the pool of k starts one step later
    return min(int(np.searchsorted(pool_weight, needed - 1e-9)) + 1, ladder.k_max)


def lowest_k(
    k_min: str | int | float, ladder: Ladder, weights: NDArray[np.float64], needed: float, *, types: int, strict: bool
) -> int:
    """``selection.k_min`` as a number of types of this ladder.

    Args:
        k_min: ``auto`` for the smallest feasible k; a share of k_max in (0, 1); or a number of
            types of all ladders together, of which a stratum takes its share.
        ladder: The ladder of the universe or of one stratum.
        weights: What each example counts towards the size, shape (examples,).
        needed: The weight that the pool of the lowest level must hold.
        types: Number of types of all ladders together, as ``k_max`` is reported.
        strict: Whether a pool that is too small is an error; else (a stratum among several) the
            smallest feasible k is taken.

    Raises:
        SftdivError: If ``k_min`` is not one of these, or, with ``strict``, its pool weighs less
            than ``needed``.
    """
    feasible = smallest_k(ladder, weights, needed)
    if k_min == "auto":
        return feasible
    if isinstance(k_min, str) or not 0 < k_min <= types:
        raise SftdivError(
            f"selection.k_min={k_min!r} is neither 'auto' nor a share in (0, 1) nor a number of types up to {types}"
        )
    share = float(k_min) if k_min < 1 else k_min / types
    lowest = max(1, round(share * ladder.k_max))
    if strict and lowest < feasible:
        raise SftdivError(
            f"selection.k_min={k_min} leaves a pool that is too small: {lowest} of {ladder.k_max} types hold "
            f"{len(ladder.pool(lowest)):,} examples; the size and the slack need k_min >= {feasible} "
            f"(share {feasible / ladder.k_max:.3f}). Give that, or a smaller size or slack"
        )
    return max(lowest, feasible)


def k_of_level(level: float, k_min: int, k_max: int) -> int:
    """Number of types at a level in [0, 1].

    Raises:
        SftdivError: If the level is outside [0, 1].
    """
    if not 0 <= level <= 1:
        raise SftdivError(f"diversity_level={level} is outside [0, 1]: 0 is the least diverse set, 1 the most")
    return round(k_min + level * (k_max - k_min))
