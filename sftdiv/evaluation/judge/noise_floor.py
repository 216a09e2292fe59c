"""The judge's noise floor: how far two identical runs of it differ.

In: the preferences of two runs over the same prompts. Out: the difference of win rates that was
seen, and the one to expect. The trade: the prompts' differences count as independent, which they
are when each verdict is a call of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Noise:
    """How far two identical runs of a judge differ.

    ``observed``: win rate of the second run less that of the first, over the ``prompts`` that both
    could read. ``stderr``: standard deviation to expect of such a difference. ``flipped``: share of
    those prompts whose winner is another one.
    """

    observed: float
    stderr: float
    flipped: float
    prompts: int


def noise_floor(once: NDArray[np.float64], again: NDArray[np.float64], *, prompts: int | None = None) -> Noise:
    """Compare two runs of one judge over the same answers.

    With d the difference of a prompt's two preferences, whose mean is zero but for chance since the
    runs are alike, the difference of two win rates over n prompts has the variance ``mean(d^2) /
    n``.

    Args:
        once: Probability that the candidate wins, shape (prompts,), NaN where it could not be read.
        again: The same of the second run.
        prompts: The n to expect the difference for, where only a sample of the prompts was judged
            twice; None for that sample's size.

    Returns:
        NaN where no prompt was read twice.
    """
    both = ~(np.isnan(once) | np.isnan(again))
    difference = again[both] - once[both]
    if not len(difference):
        return Noise(math.nan, math.nan, math.nan, 0)
    expected = math.sqrt(float((difference**2).mean()) / (prompts or len(difference)))
    flipped = float((np.sign(once[both] - 0.5) != np.sign(again[both] - 0.5)).mean())
    return Noise(float(difference.mean()), expected, flipped, len(difference))
