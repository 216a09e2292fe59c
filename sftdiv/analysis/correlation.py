"""Pearson and Spearman correlation over ladders or levels, and partial correlation.

The input is arrays of two variables, and the ladder, level and setting of each value. The independent
units are the ladders or, with a single ladder, its levels (see `inference`); cells never are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from sftdiv.analysis.inference import mean_of
from sftdiv.analysis.inference import p_value as t_test

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
EXACT_BELOW = 10  # levels below which the p-value of a rank correlation comes from all permutations (9! = 362,880)
EXACT_SIGNS = 12  # ladders up to which all signs are flipped
NORMAL_95 = 1.959963984540054  # 97.5 % quantile of the standard normal distribution
CONSTANT = 1e-12  # a spread below this share of the values is rounding error


@dataclass(frozen=True)
class Correlation:
    """A coefficient, the limits of its 95 % interval, and the two-sided p-value of no correlation."""

    value: float
    low: float
    high: float
    p: float


def correlate(x: Floats, y: Floats) -> Floats:
    """Pearson correlation along the last axis, shapes (..., n); NaN where a variable is constant."""
    x_centred, y_centred = x - x.mean(axis=-1, keepdims=True), y - y.mean(axis=-1, keepdims=True)
    x_norm, y_norm = np.sqrt((x_centred**2).sum(axis=-1)), np.sqrt((y_centred**2).sum(axis=-1))
    rounding = CONSTANT * math.sqrt(x.shape[-1])
    varies = (x_norm > rounding * np.abs(x).max(axis=-1)) & (y_norm > rounding * np.abs(y).max(axis=-1))
    product = np.where(varies, x_norm * y_norm, 1.0)
    return np.where(varies, np.clip((x_centred * y_centred).sum(axis=-1) / product, -1.0, 1.0), np.nan)


def ranks(values: Floats) -> Floats:
    """Ranks along the last axis; ties have their mean rank."""
    return np.asarray(stats.rankdata(values, axis=-1), dtype=np.float64)


def p_value(coefficient: float, degrees: int) -> float:
    """Two-sided p-value of a correlation by Student's t; NaN without a degree of freedom.

    Args:
        coefficient: Correlation coefficient.
        degrees: Degrees of freedom, n - 2 for one group.
    """
    if degrees < 1 or math.isnan(coefficient):
        return math.nan
    return float(special.betainc(degrees / 2, 0.5, 1 - coefficient**2))  # tail of t as a function of r


def within_groups(values: Floats, groups: Ints) -> Floats:
    """Deviations from the group mean, shape (n,)."""
    return values - (np.bincount(groups, values) / np.bincount(groups))[groups]


def ranks_within(values: Floats, groups: Ints) -> Floats:
    """Ranks within the group divided by its size, so that large groups do not weigh more, shape (n,)."""
    result = np.empty_like(values)
    for group in np.unique(groups):
        members = groups == group
        result[members] = ranks(values[members]) / members.sum()
    return result


def over_ladders(x: Floats, y: Floats, *, ladders: Ints, settings: Ints, ranked: bool = False) -> Correlation:
    """The mean over ladders of the correlation within each ladder; ladders are the independent units.

    Pearson coefficients are averaged by Fisher's z, with a t interval of z. Rank coefficients of few levels
    take few values: they are averaged as they are, have no interval (t covers 88 to 92 % in simulation), and their
    p-value is that of flipping the sign of each ladder's coefficient (exact, 0.25 with three ladders that agree). A
    ladder in which a variable is constant is
    left out.

    Args:
        x: First variable, shape (n,).
        y: Second variable, shape (n,).
        ladders: Ladder of each cell, shape (n,).
        settings: Cells of different settings are compared within their own only, shape (n,).
        ranked: Spearman instead of Pearson correlation.
    """
    transform = ranks_within if ranked else (lambda values, _: values)
    coefficients = []
    for ladder in np.unique(ladders):
        members = ladders == ladder
        groups = np.unique(settings[members], return_inverse=True)[1]
        a, b = (within_groups(transform(values[members], groups), groups) for values in (x, y))
        coefficients.append(float(correlate(a, b)) if len(a) > 2 else math.nan)
    known = np.array(coefficients)[~np.isnan(coefficients)]
    if len(known) < 2:
        return Correlation(float(known[0]) if len(known) else math.nan, math.nan, math.nan, math.nan)
    if ranked:
        return Correlation(float(known.mean()), math.nan, math.nan, sign_flip_p(known))
    z = mean_of(np.arctanh(np.clip(known, -1 + CONSTANT, 1 - CONSTANT)))
    low, high = np.tanh(z.interval())
    return Correlation(math.tanh(z.center), float(low), float(high), t_test(z))


def over_levels(
    x: Floats, y: Floats, *, levels: Ints, settings: Ints, ranked: bool = False, with_interval: bool = True
) -> Correlation:
    """Correlation over the cells of one ladder; its levels count as the units, not its cells.

    The interval is Fisher's with the number of levels in place of n; ranks have none. The p-value of
    ranks with fewer than ``EXACT_BELOW`` levels is that of all permutations of the level means;
    otherwise it is Student's with two degrees less than levels. If the effects of levels accumulate
    along the ladder, both are too small.

    Args:
        x: First variable, shape (n,).
        y: Second variable, shape (n,).
        levels: Level of each cell, shape (n,); a level belongs to one setting.
        settings: Cells of different settings are compared within their own only, shape (n,).
        ranked: Spearman instead of Pearson correlation.
        with_interval: False where the levels of several ladders are pooled that have one draw each.
    """
    transform = ranks_within if ranked else (lambda values, _: values)
    a, b = (within_groups(transform(values, settings), settings) for values in (x, y))
    value = float(correlate(a, b)) if len(x) > 1 else math.nan
    units, groups = len(np.unique(levels)), len(np.unique(settings))
    if math.isnan(value):
        return Correlation(value, math.nan, math.nan, math.nan)
    low = high = math.nan
    if with_interval and not ranked and units > 2 + groups and abs(value) < 1:
        reach = NORMAL_95 / math.sqrt(units - 2 - groups)
        low, high = (math.tanh(math.atanh(value) + by) for by in (-reach, reach))
    p = p_value(value, units - 1 - groups)
    if ranked and units < EXACT_BELOW:
        p = _permutation_p(x, y, levels, settings)
    return Correlation(value, low, high, p)


def sign_flip_p(values: Floats) -> float:
    """Two-sided p-value of a mean of zero under flipped signs of independent symmetric values; t above twelve."""
    if len(values) > EXACT_SIGNS:
        return t_test(mean_of(values)) if values.std() > 0 else 0.0
    signs = 1 - 2 * (np.arange(2 ** len(values))[:, None] >> np.arange(len(values)) & 1)
    return float((np.abs(signs @ values) >= abs(values.sum()) - 1e-9).mean())


def _permutation_p(x: Floats, y: Floats, levels: Ints, settings: Ints) -> float:
    """Share of the permutations of level means within settings with at least the observed rank correlation."""
    _, first, unit = np.unique(levels, return_index=True, return_inverse=True)
    sizes, groups = np.bincount(unit), settings[first]
    means = [np.bincount(unit, values) / sizes for values in (x, y)]
    a, b = (within_groups(ranks_within(np.round(mean, 12), groups), groups) for mean in means)
    if not a.any() or not b.any():
        return math.nan
    orders = [np.array(list(permutations(np.flatnonzero(groups == group)))) for group in np.unique(groups)]
    sums = np.zeros(1)
    for order in orders:
        products = b[order] @ a[np.sort(order[0])]
        sums = (sums[:, None] + products[None, :]).ravel()
    return float((np.abs(sums) >= abs(a @ b) - 1e-9).mean())


def partial(x: Floats, y: Floats, covariate: Floats) -> float:
    """Partial correlation of ``x`` and ``y`` given ``covariate``, each of shape (n,).

    ``(r_xy - r_xz r_yz) / sqrt((1 - r_xz^2) (1 - r_yz^2))`` (Fisher 1924). NaN if one of them is
    constant or the covariate is a linear function of ``x`` or ``y``.
    """
    if len(x) < 4:
        return math.nan
    xy, xz, yz = (float(correlate(a, b)) for a, b in ((x, y), (x, covariate), (y, covariate)))
    unexplained = (1 - xz**2) * (1 - yz**2)
    return float(np.clip((xy - xz * yz) / math.sqrt(unexplained), -1, 1)) if unexplained > CONSTANT else math.nan
