"""Corrections for several tests: Holm's p-values and Benjamini-Hochberg q-values; NaN does not count as a test."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]


def holm(p_values: Floats) -> Floats:
    """Holm's step-down adjusted p-values (Holm 1979, Scandinavian Journal of Statistics 6), shape (tests,)."""
    adjusted = np.full_like(p_values, np.nan)
    known = np.flatnonzero(~np.isnan(p_values))
    order = known[np.argsort(p_values[known], kind="stable")]
    steps = p_values[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def false_discovery(p_values: Floats) -> Floats:
    """Benjamini-Hochberg q-values, shape (tests,)."""
    q_values = np.full_like(p_values, np.nan)
    defined = ~np.isnan(p_values)
    if defined.any():
        q_values[defined] = stats.false_discovery_control(p_values[defined], method="bh")
    return q_values
