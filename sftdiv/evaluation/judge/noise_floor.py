"""Noise floor of a judge: the difference between two identical runs.

The preferences of two runs over the same prompts come in; the observed and the expected difference of
their win rates go out. The differences of the prompts count as independent, which they are when each
verdict is a separate request.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Noise:
    """Difference between two identical runs of a judge.

    Attributes:
        observed: Win rate of the second run minus that of the first, over the prompts readable in both.
        stderr: Expected standard deviation of such a difference.
        flipped: Share of these prompts whose winner differs.
        prompts: Number of these prompts.
    """

    observed: float
    stderr: float
    flipped: float
    prompts: int


def noise_floor(first: NDArray[np.float64], second: NDArray[np.float64], *, prompts: int | None = None) -> Noise:
    """Compare two runs of one judge on the same answers.

    Let d be the difference of a prompt's two preferences, whose mean is zero for identical runs. The
    difference of two win rates over n prompts has the variance ``mean(d^2) / n``.

    Args:
        first: Probability that the candidate wins, shape (prompts,); NaN where unreadable.
        second: The same for the second run.
        prompts: Number n of prompts to expect the difference for, where only a sample was judged
            twice; None for the size of that sample.

    Returns:
        NaN where no prompt is readable in both runs.
    """
    both = ~(np.isnan(first) | np.isnan(second))
    difference = second[both] - first[both]
    if not len(difference):
        return Noise(math.nan, math.nan, math.nan, 0)
    expected = math.sqrt(float((difference**2).mean()) / (prompts or len(difference)))
    flipped = float((np.sign(first[both] - 0.5) != np.sign(second[both] - 0.5)).mean())
    return Noise(float(difference.mean()), expected, flipped, len(difference))
