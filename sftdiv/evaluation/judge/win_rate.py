"""Win rates and their intervals.

In: for each prompt the probability that the candidate wins. Out: the mean, and percentile intervals
of any statistic of the prompts. The trade: prompts are what is drawn again, so that the interval
says what other prompts would have given, not what the judge would say again (see ``noise``). What
could not be read is NaN and is left out; whoever calls counts it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sftdiv.records import SftdivError

COVERAGE = 0.95
FEWEST_DRAWS = 0.5  # share of the draws that must give a number


@dataclass(frozen=True)
class Interval:
    """A 95 % interval and the standard error, both of a bootstrap; NaN where none can be given."""

    low: float
    high: float
    stderr: float


def win_rate(preferences: NDArray[np.float64]) -> float:
    """The mean preference: AlpacaEval 2's win rate (``metrics/helpers.py``), as a share.

    Args:
        preferences: Probability that the candidate wins, shape (prompts,): 0.5 is a draw, NaN an
            answer that could not be read.

    Returns:
        A number in [0, 1]; NaN where no preference is known.

    Raises:
        SftdivError: If a preference lies outside [0, 1].
    """
    known = known_preferences(preferences)
    return float(known.mean()) if len(known) else math.nan


def standard_error(preferences: NDArray[np.float64]) -> float:
    """Standard error of the win rate, ``sd / sqrt(n)`` with n - 1 in the variance, as AlpacaEval publishes it; NaN for fewer than two."""
    known = known_preferences(preferences)
    return float(known.std(ddof=1) / math.sqrt(len(known))) if len(known) > 1 else math.nan


def known_preferences(preferences: NDArray[np.float64]) -> NDArray[np.float64]:
    """The preferences that are numbers; raises if one lies outside [0, 1]."""
    values = np.asarray(preferences, dtype=np.float64)
    outside = np.flatnonzero((values < 0) | (values > 1))
    if len(outside):
        raise SftdivError(
            f"preference {values[outside[0]]:g} at place {outside[0]}: it must be the probability, in [0, 1], that the candidate "
            "wins, or NaN; AlpacaEval's files hold 1 + that probability"
        )
    return values[~np.isnan(values)]


def bootstrap(
    statistic: Callable[..., float], *arrays: NDArray[np.float64], draws: int, rng: np.random.Generator
) -> Interval:
    """The percentile interval of a statistic of prompts (Efron 1979), drawing whole prompts with replacement.

    Args:
        statistic: Takes the arrays, with prompts drawn again, and gives a number.
        arrays: Whatever belongs to prompts, each of shape (prompts, ...); the first is (prompts,),
            NaN where a prompt says nothing.
        draws: How often.
        rng: For the draws.

    Returns:
        NaN for fewer than two prompts that say something, and where half the draws or more give no number.
    """
    prompts = len(arrays[0])
    if np.count_nonzero(~np.isnan(arrays[0])) < 2 or draws < 2:
        return Interval(math.nan, math.nan, math.nan)
    drawn = (rng.integers(prompts, size=prompts) for _ in range(draws))
    values = np.array([statistic(*(array[rows] for array in arrays)) for rows in drawn], dtype=np.float64)
    values = values[~np.isnan(values)]
    if len(values) <= FEWEST_DRAWS * draws:
        return Interval(math.nan, math.nan, math.nan)
    low, high = np.quantile(values, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return Interval(float(low), float(high), float(values.std(ddof=1)))
