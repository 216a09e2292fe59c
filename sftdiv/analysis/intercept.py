"""The slope with a random intercept for the seed, in closed form.

In: a predictor, a response and the seed of each cell. Out: the slope by generalised least squares
and the two variances it rests on. The variances are Henderson's method 3 (fitting constants;
Henderson 1953, Biometrics 9; the Fuller-Battese 1974 estimator): the drop of the residual sum of
squares that seed intercepts bring, set equal to its expectation. It is unbiased (before a negative
estimate is set to zero), equals the Swamy-Arora estimate in balanced data and, unlike maximum
likelihood, cannot fail to converge on two or three seeds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SeedModel:
    """``slope`` and its standard error ``slope_sd``; ``seed_variance`` between seeds, ``cell_variance`` within a seed."""

    slope: float
    slope_sd: float
    seed_variance: float
    cell_variance: float

    @property
    def seed_share(self) -> float:
        """The share of the noise's variance that is between seeds; NaN where there is no noise."""
        both = self.seed_variance + self.cell_variance
        return self.seed_variance / both if both > 0 else math.nan


def fit_random_intercept(x: Floats, y: Floats, seeds: NDArray[np.int64]) -> SeedModel | None:
    """Regress ``y`` on ``x``, each (n,), with an intercept drawn for each seed (n,).

    Returns:
        The fit, or None with one seed, no degree of freedom left within seeds, or no spread of
        ``x`` within them.
    """
    names, group = np.unique(seeds, return_inverse=True)
    sizes = np.bincount(group).astype(np.float64)
    degrees = len(x) - len(names) - 1
    x_within, y_within = x - (np.bincount(group, x) / sizes)[group], y - (np.bincount(group, y) / sizes)[group]
    spread = x_within @ x_within
    if len(names) < 2 or degrees < 1 or spread <= 1e-20 * (x @ x):
        return None
    residuals = y_within - x_within * (x_within @ y_within / spread)
    cell_variance = float(residuals @ residuals) / degrees
    design = np.column_stack([np.ones_like(x), x])
    orthogonal, _ = np.linalg.qr(design)
    pooled = y - orthogonal @ (orthogonal.T @ y)
    dummies = (group[:, None] == np.arange(len(names))).astype(np.float64)
    trace = (
        len(x) - ((orthogonal.T @ dummies) ** 2).sum()
    )  # of Z'MZ: what one unit of seed variance adds to the pooled residuals
    seed_variance = max(0.0, (float(pooled @ pooled) - (len(x) - 2) * cell_variance) / trace)
    return _generalised(design, y, group, sizes, seed_variance, cell_variance)


def _generalised(
    design: Floats, y: Floats, group: NDArray[np.int64], sizes: Floats, seed_variance: float, cell_variance: float
) -> SeedModel:
    """Generalised least squares at known variances: ordinary on what is left after a share of each seed's mean is taken off."""
    total = cell_variance + sizes * seed_variance
    share = 1 - np.sqrt(np.divide(cell_variance, total, out=np.ones_like(total), where=total > 0))
    means = np.column_stack([np.bincount(group, column) / sizes for column in (*design.T, y)])
    lessened = np.column_stack([design, y]) - (share[:, None] * means)[group]
    if (
        cell_variance == 0
    ):  # no noise within seeds: any weight gives the same line, and the intercept may vanish from the design
        x_within, y_within = (design[:, 1] - means[group, 1]), (y - means[group, 2])
        return SeedModel(float(x_within @ y_within / (x_within @ x_within)), 0.0, seed_variance, cell_variance)
    information = lessened[:, :2].T @ lessened[:, :2]
    coefficients = np.linalg.solve(information, lessened[:, :2].T @ lessened[:, 2])
    slope_sd = math.sqrt(cell_variance * np.linalg.inv(information)[1, 1])
    return SeedModel(float(coefficients[1]), slope_sd, seed_variance, cell_variance)
