"""What the order of the two answers does to a judge.

In: verdicts with the answers in both orders. Out: how far the judge favours a place, how often the
order decides, how often it does not. A bias that is the same for every prompt cancels in a win rate
over both orders; it costs precision and pulls towards one half.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def position_bias(first: Floats) -> float:
    """The mean of ``2 p - 1``, p the probability that the answer shown first wins.

    Args:
        first: One number a verdict in [0, 1], NaN where it could not be read, shape (verdicts,).
            Each pair should be in it in both orders: only then does the quality of the answers
            cancel.

    Returns:
        1 if the first always wins, -1 if the second does, 0 if neither place is favoured; NaN
        without verdicts.
    """
    known = first[~np.isnan(first)]
    return float((2 * known - 1).mean()) if len(known) else math.nan


def position_rate(candidate_first: Floats, baseline_first: Floats) -> float:
    """The share of prompts where the order decides: the winner is another one once the answers are swapped.

    Args:
        candidate_first: Probability that the candidate wins when it is shown first, shape (prompts,).
        baseline_first: The same with the baseline shown first. Prompts with a NaN in either are left out.

    Returns:
        A number in [0, 1]; NaN where no prompt was read in both orders. A draw in one order alone
        counts neither here nor as agreement.
    """
    winners = _winners(candidate_first, baseline_first)
    return float((winners[0] * winners[1] < 0).mean()) if winners.size else math.nan


def order_agreement(candidate_first: Floats, baseline_first: Floats) -> float:
    """The share of prompts where both orders name the same winner, or both a draw; arguments as in ``position_rate``."""
    winners = _winners(candidate_first, baseline_first)
    return float((winners[0] == winners[1]).mean()) if winners.size else math.nan


def _winners(candidate_first: Floats, baseline_first: Floats) -> Floats:
    """1 candidate, -1 baseline, 0 draw, in both orders, shape (2, prompts read in both)."""
    both = np.stack([candidate_first, baseline_first])
    return np.sign(both[:, ~np.isnan(both).any(axis=0)] - 0.5)
