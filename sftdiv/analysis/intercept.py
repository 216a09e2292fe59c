"""The slope with a random intercept for the seed, in closed form.

The input is a predictor, a response and the seed of each cell. The output is the slope by
generalised least squares and the two variance components it depends on. The variances are estimated
by Henderson's method 3 (fitting constants; Henderson 1953, Biometrics 9; the Fuller-Battese 1974
estimator): the reduction of the residual sum of squares by seed intercepts is set equal to its
expectation. The estimate is unbiased before a negative one is set to zero and equals the
Swamy-Arora estimate in balanced data. Unlike maximum likelihood, it cannot fail to converge on two
or three seeds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SeedModel:
    """A fitted random-intercept model.

    Attributes:
        slope: Slope of the response on the predictor.
        slope_sd: Standard error of the slope.
        seed_variance: Variance between seeds.
        cell_variance: Variance within a seed.
    """

    slope: float
    slope_sd: float
    seed_variance: float
    cell_variance: float

    @property
    def seed_share(self) -> float:
        """The share of the noise variance that is between seeds; NaN without noise."""
        total = self.seed_variance + self.cell_variance
        return self.seed_variance / total if total > 0 else math.nan


def fit_random_intercept(x: Floats, y: Floats, seeds: NDArray[np.int64]) -> SeedModel | None:
    """Regress ``y`` on ``x`` with a random intercept per seed, all of shape (n,).

    Returns:
        The fit. None with one seed, without a degree of freedom within seeds, or if ``x`` does not
        vary within seeds.
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
    trace = len(x) - ((orthogonal.T @ dummies) ** 2).sum()  # of Z'MZ: coefficient of the seed variance in E[RSS]
    seed_variance = max(0.0, (float(pooled @ pooled) - (len(x) - 2) * cell_variance) / trace)
    return _generalised(design, y, group, sizes, seed_variance, cell_variance)


def _generalised(
    design: Floats, y: Floats, group: NDArray[np.int64], sizes: Floats, seed_variance: float, cell_variance: float
) -> SeedModel:
    """Generalised least squares at known variances: ordinary ones after subtracting a share of each seed mean."""
    total = cell_variance + sizes * seed_variance
    share = 1 - np.sqrt(np.divide(cell_variance, total, out=np.ones_like(total), where=total > 0))
    means = np.column_stack([np.bincount(group, column) / sizes for column in (*design.T, y)])
    transformed = np.column_stack([design, y]) - (share[:, None] * means)[group]
    if cell_variance == 0:  # without noise within seeds all weights give the same line, and the intercept may vanish
        x_within, y_within = (design[:, 1] - means[group, 1]), (y - means[group, 2])
        return SeedModel(float(x_within @ y_within / (x_within @ x_within)), 0.0, seed_variance, cell_variance)
    information = transformed[:, :2].T @ transformed[:, :2]
    coefficients = np.linalg.solve(information, transformed[:, :2].T @ transformed[:, 2])
    slope_sd = math.sqrt(cell_variance * np.linalg.inv(information)[1, 1])
    return SeedModel(float(coefficients[1]), slope_sd, seed_variance, cell_variance)
