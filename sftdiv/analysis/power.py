"""How many seeds a slope of a given size needs, at the noise that was seen.

In: levels, the noise of a cell and slopes. Out: seeds. The trade: noise is taken as independent
between cells and as known exactly, though it was itself estimated from few seeds; shared examples
make it more dependent, so these are counts of the least seeds to plan for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

SLOPES = (0.005, 0.01, 0.02, 0.05, 0.10)  # the paper's slopes are 0.6 to 10 x 10^-2 (its slope table)
MOST_SEEDS = 10_000


def power(slope: float, *, levels: Sequence[float], seeds: int, noise: float, alpha: float = 0.05) -> float:
    """The probability that a two-sided t-test of the slope rejects zero: one cell at each level and seed.

    The statistic is noncentral t with ``seeds * levels - 2`` degrees of freedom and noncentrality
    ``slope sqrt(seeds Sxx) / noise``.

    Args:
        slope: The true slope.
        levels: The levels of the ladder.
        seeds: Cells at each level.
        noise: Standard deviation of a cell about the line.
        alpha: Level of the test.
    """
    points = np.asarray(levels, dtype=np.float64)
    degrees = seeds * len(points) - 2
    spread = float(((points - points.mean()) ** 2).sum())
    if degrees < 1 or spread == 0:
        return 0.0
    if noise == 0:
        return 1.0 if slope else alpha
    shift = abs(slope) * math.sqrt(seeds * spread) / noise
    edge = stats.t.ppf(1 - alpha / 2, degrees)
    return float(stats.nct.sf(edge, degrees, shift) + stats.nct.sf(edge, degrees, -shift))


def seeds_needed(
    slope: float, *, levels: Sequence[float], noise: float, goal: float = 0.8, alpha: float = 0.05
) -> float:
    """The fewest seeds that reach the power ``goal``; infinite over ``MOST_SEEDS``, NaN where the noise is not known."""
    if math.isnan(noise):
        return math.nan

    def enough(seeds: int) -> bool:
        return power(slope, levels=levels, seeds=seeds, noise=noise, alpha=alpha) >= goal

    low, high = (
        0,
        1,
    )  # not enough, perhaps enough; doubled, since the distribution function fails far beyond the power that is asked for
    while not enough(high):
        if high >= MOST_SEEDS:
            return math.inf
        low, high = high, min(2 * high, MOST_SEEDS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return float(high)
