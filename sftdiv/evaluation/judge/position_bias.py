"""Effects of the order of the two answers on a judge.

Verdicts with the answers in both orders come in; the bias towards a position, and the shares of prompts
where the order decides or does not, go out. A bias that is the same for every prompt cancels in a win
rate over both orders. It costs precision and pulls the win rate towards one half.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def position_bias(first: Floats) -> float:
    """Mean of ``2 p - 1``, where p is the probability that the answer shown first wins.

    Args:
        first: The probabilities in [0, 1], shape (verdicts,); NaN where unreadable. Each pair should
            be present in both orders: only then does the quality of the answers cancel.

    Returns:
        1 if the first answer always wins, -1 if the second does, 0 without bias; NaN without verdicts.
    """
    known = first[~np.isnan(first)]
    return float((2 * known - 1).mean()) if len(known) else math.nan


def position_rate(candidate_first: Floats, baseline_first: Floats) -> float:
    """Share of prompts where the order decides: swapping the answers changes the winner.

    Args:
        candidate_first: Probability that the candidate wins when it is shown first, shape (prompts,).
        baseline_first: The same with the baseline shown first. Prompts with a NaN in either are left out.

    Returns:
        A number in [0, 1]; NaN where no prompt is readable in both orders. A tie in only one of the
        orders counts neither here nor as agreement.
    """
    winners = _winners(candidate_first, baseline_first)
    return float((winners[0] * winners[1] < 0).mean()) if winners.size else math.nan


def order_agreement(candidate_first: Floats, baseline_first: Floats) -> float:
    """Share of prompts where both orders have the same winner, or both a tie; arguments as in ``position_rate``."""
    winners = _winners(candidate_first, baseline_first)
    return float((winners[0] == winners[1]).mean()) if winners.size else math.nan


def _winners(candidate_first: Floats, baseline_first: Floats) -> Floats:
    """1 candidate, -1 baseline, 0 tie, in both orders, shape (2, prompts readable in both)."""
    both = np.stack([candidate_first, baseline_first])
    return np.sign(both[:, ~np.isnan(both).any(axis=0)] - 0.5)
