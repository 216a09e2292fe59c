"""Number of ladders needed to detect a slope of a given size, at the noise of a study.

The slope is tested by t over ladders. Its variance is the variance of one ladder's slope over the number of ladders,
plus the variance of the benchmark items' own slopes, which more ladders do not reduce. Both are taken as known,
although they are estimated from few ladders: the results are orders of magnitude for planning.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

SLOPES = (0.005, 0.01, 0.02, 0.05, 0.10)  # the paper's slopes are 0.6 to 10 x 10^-2 (its slope table)
MAX_LADDERS = 1000


@dataclass(frozen=True)
class SlopeNoise:
    """What the variance of a slope consists of.

    Attributes:
        of_ladders: Variance of one ladder's slope that more runs on it do not reduce, at spread 1 of the levels.
        of_runs: Variance of one run around the effect of its ladder and level, at spread 1 of the levels.
        of_items: Variance of the slope due to the choice of items, for one item.
    """

    of_ladders: float
    of_runs: float
    of_items: float

    def per_ladder(self, *, levels: NDArray[np.float64], runs: float) -> float:
        """Variance of the slope of one ladder.

        Args:
            levels: Levels of the ladder.
            runs: Runs on each level.
        """
        return (self.of_ladders + self.of_runs / runs) / spread_of(levels)


def spread_of(levels: NDArray[np.float64]) -> float:
    """Sum of squared deviations of the levels from their mean."""
    return float(((levels - levels.mean()) ** 2).sum())


def power(slope: float, *, ladders: int, per_ladder: float, items: float = 0.0, alpha: float = 0.05) -> float:
    """The power of the two-sided t test over ladders.

    The statistic is taken as noncentral t with ``ladders - 1`` degrees of freedom and noncentrality ``slope`` over its
    standard error.

    Args:
        slope: True slope.
        ladders: Number of ladders.
        per_ladder: Variance of one ladder's slope.
        items: Variance due to the choice of items.
        alpha: Significance level.
    """
    if ladders < 2:
        return 0.0
    error = math.sqrt(per_ladder / ladders + items)
    if error == 0:
        return 1.0 if slope else alpha
    shift, critical = abs(slope) / error, stats.t.ppf(1 - alpha / 2, ladders - 1)
    return float(stats.nct.sf(critical, ladders - 1, shift) + stats.nct.sf(critical, ladders - 1, -shift))


def ladders_needed(slope: float, *, per_ladder: float, items: float = 0.0, goal: float = 0.8) -> float:
    """The smallest number of ladders that reaches the power ``goal`` at a level of 5 %.

    Args:
        slope: True slope.
        per_ladder: Variance of one ladder's slope; NaN if unknown.
        items: Variance due to the choice of items.
        goal: Power.

    Returns:
        Infinity above ``MAX_LADDERS``, as where the choice of items alone hides the slope; NaN if the noise is unknown.
    """
    if math.isnan(per_ladder) or math.isnan(items):
        return math.nan

    def enough(ladders: int) -> bool:
        return power(slope, ladders=ladders, per_ladder=per_ladder, items=items) >= goal

    low, high = 1, 2  # doubled from below: the distribution function fails far above the requested power
    while not enough(high):
        if high >= MAX_LADDERS:
            return math.inf
        low, high = high, min(2 * high, MAX_LADDERS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return float(high)
