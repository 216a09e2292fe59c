"""Number of seeds needed to detect a slope of a given size at the observed noise.

The noise is assumed independent between cells and known exactly, although it is estimated from few
seeds. Shared examples make cells dependent, so the results are lower bounds for planning.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

SLOPES = (0.005, 0.01, 0.02, 0.05, 0.10)  # the paper's slopes are 0.6 to 10 x 10^-2 (its slope table)
MAX_SEEDS = 10_000


def power(slope: float, *, levels: Sequence[float], seeds: int, noise: float, alpha: float = 0.05) -> float:
    """The power of a two-sided t-test of the slope, with one cell per level and seed.

    The statistic is noncentral t with ``seeds * levels - 2`` degrees of freedom and noncentrality
    ``slope sqrt(seeds Sxx) / noise``.

    Args:
        slope: True slope.
        levels: Levels of the ladder.
        seeds: Number of cells per level.
        noise: Standard deviation of a cell around the line.
        alpha: Significance level.
    """
    points = np.asarray(levels, dtype=np.float64)
    degrees = seeds * len(points) - 2
    spread = float(((points - points.mean()) ** 2).sum())
    if degrees < 1 or spread == 0:
        return 0.0
    if noise == 0:
        return 1.0 if slope else alpha
    shift = abs(slope) * math.sqrt(seeds * spread) / noise
    critical = stats.t.ppf(1 - alpha / 2, degrees)
    return float(stats.nct.sf(critical, degrees, shift) + stats.nct.sf(critical, degrees, -shift))


def seeds_needed(
    slope: float, *, levels: Sequence[float], noise: float, goal: float = 0.8, alpha: float = 0.05
) -> float:
    """The smallest number of seeds that reaches the power ``goal``.

    Args:
        slope: True slope.
        levels: Levels of the ladder.
        noise: Standard deviation of a cell around the line; NaN if unknown.
        goal: Power.
        alpha: Significance level.

    Returns:
        Infinity above ``MAX_SEEDS``; NaN if the noise is unknown.
    """
    if math.isnan(noise):
        return math.nan

    def enough(seeds: int) -> bool:
        return power(slope, levels=levels, seeds=seeds, noise=noise, alpha=alpha) >= goal

    low, high = 0, 1  # doubled from below: the distribution function fails far above the requested power
    while not enough(high):
        if high >= MAX_SEEDS:
            return math.inf
        low, high = high, min(2 * high, MAX_SEEDS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return float(high)
