"""Win rates and their intervals.

The probability that the candidate wins comes in for each prompt; the mean goes out, and percentile
intervals of any statistic of the prompts. The bootstrap resamples prompts: the interval describes
other prompts, not another run of the judge (see ``noise_floor``). Unreadable preferences are NaN and
are left out; the caller counts them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sftdiv.records import SftdivError

COVERAGE = 0.95
MIN_VALID_SHARE = 0.5  # of the resamples that must give a number


@dataclass(frozen=True)
class Interval:
    """A 95 % bootstrap interval and the bootstrap standard error; NaN where neither exists."""

    low: float
    high: float
    stderr: float


def win_rate(preferences: NDArray[np.float64]) -> float:
    """The mean preference: AlpacaEval 2's win rate (``metrics/helpers.py``), as a share.

    Args:
        preferences: Probability that the candidate wins, shape (prompts,): 0.5 is a tie, NaN an
            unreadable answer.

    Returns:
        A number in [0, 1]; NaN where no preference is known.

    Raises:
        SftdivError: If a preference lies outside [0, 1].
    """
    known = known_preferences(preferences)
    return float(known.mean()) if len(known) else math.nan


def standard_error(preferences: NDArray[np.float64]) -> float:
    """Standard error of the win rate, as AlpacaEval publishes it; NaN for fewer than two known preferences.

    ``sd / sqrt(n)`` with n - 1 in the variance.
    """
    known = known_preferences(preferences)
    return float(known.std(ddof=1) / math.sqrt(len(known))) if len(known) > 1 else math.nan


def logit_interval(rate: float, stderr: float) -> tuple[float, float]:
    """95 % interval of a share, symmetric in logits, from its standard error; NaN where either is unknown."""
    from scipy.stats import norm

    if math.isnan(stderr):
        return math.nan, math.nan
    centre = math.log(rate) - math.log1p(-rate)
    half = float(norm.ppf((1 + COVERAGE) / 2)) * stderr / (rate * (1 - rate))
    return 1 / (1 + math.exp(half - centre)), 1 / (1 + math.exp(-half - centre))


def known_preferences(preferences: NDArray[np.float64]) -> NDArray[np.float64]:
    """The preferences that are not NaN.

    Raises:
        SftdivError: If a preference lies outside [0, 1].
    """
    values = np.asarray(preferences, dtype=np.float64)
    outside = np.flatnonzero((values < 0) | (values > 1))
    if len(outside):
        raise SftdivError(
            f"preference {values[outside[0]]:g} at place {outside[0]}: it must be the probability, in [0, 1], that the "
            "candidate wins, or NaN; AlpacaEval's files hold 1 + that probability"
        )
    return values[~np.isnan(values)]


def bootstrap(
    statistic: Callable[..., float], *arrays: NDArray[np.float64], draws: int, rng: np.random.Generator
) -> Interval:
    """The percentile interval of a statistic of prompts (Efron 1979), resampling whole prompts with replacement.

    Args:
        statistic: Function of the resampled arrays that returns a number.
        arrays: Values per prompt, each of shape (prompts, ...); the first is (prompts,), NaN where
            unknown.
        draws: Number of resamples.
        rng: Random generator.

    Returns:
        NaN for fewer than two known prompts, and where half the resamples or more give no number.
    """
    prompts = len(arrays[0])
    if np.count_nonzero(~np.isnan(arrays[0])) < 2 or draws < 2:
        return Interval(math.nan, math.nan, math.nan)
    samples = (rng.integers(prompts, size=prompts) for _ in range(draws))
    values = np.array([statistic(*(array[rows] for array in arrays)) for rows in samples], dtype=np.float64)
    values = values[~np.isnan(values)]
    if len(values) <= MIN_VALID_SHARE * draws:
        return Interval(math.nan, math.nan, math.nan)
    low, high = np.quantile(values, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return Interval(float(low), float(high), float(values.std(ddof=1)))
