"""Pure functions for cells that one judge compared with one baseline: scores and bootstrap.

All functions take ``preferences``: the probability that a cell beats the baseline, shape (cells,
prompts), NaN where unknown.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sftdiv.evaluation.judge.bradley_terry import bradley_terry
from sftdiv.evaluation.judge.win_rate import COVERAGE, MIN_VALID_SHARE

Floats = NDArray[np.float64]


def arena_scores(preferences: Floats) -> Floats:
    """Bradley-Terry scores of cells against one baseline, whose score is 1000, shape (cells,)."""
    wins = np.zeros((len(preferences) + 1, len(preferences) + 1))
    wins[1:, 0] = np.nansum(preferences, axis=1)
    wins[0, 1:] = np.nansum(1 - preferences, axis=1)
    return bradley_terry(wins)[1:]


def resample_games(preferences: Floats, *, draws: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Wins and games in a bootstrap that resamples prompts for all cells together, each of shape (draws, cells).

    A cell with a single known prompt gets no games, because one prompt says nothing about others.

    Args:
        preferences: See the module docstring.
        draws: Number of resamples.
        rng: Random generator.
    """
    prompts = preferences.shape[1]
    times = rng.multinomial(prompts, np.full(prompts, 1 / prompts), size=draws).astype(np.float64)
    known = ~np.isnan(preferences)
    known &= known.sum(axis=1, keepdims=True) > 1
    return times @ np.where(known, preferences, 0.0).T, times @ known.T.astype(np.float64)


def interval_ends(values: Floats) -> tuple[Floats, Floats]:
    """Ends of the 95 % percentile intervals, each of shape (cells,).

    NaN where half the resamples or more give no number.

    Args:
        values: A statistic of each resample, shape (draws, cells).
    """
    if len(values) < 2:
        return np.full(values.shape[1], np.nan), np.full(values.shape[1], np.nan)
    valid = (~np.isnan(values)).mean(axis=0) > MIN_VALID_SHARE
    low, high = np.nanquantile(np.where(valid, values, 0.0), [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2], axis=0)
    return np.where(valid, low, np.nan), np.where(valid, high, np.nan)
