"""Bayesian linear regression with the reference prior p(b, sigma^2) ~ 1 / sigma^2, in closed form.

The input is arrays of a predictor, optional covariates, and a response; the output is the
posterior. Under this prior the coefficients are multivariate Student t around the least-squares fit
with n - p degrees of freedom, and sigma^2 is scaled inverse chi-squared (Gelman et al., Bayesian
Data Analysis, 3rd edition, 14.2). Credible intervals therefore coincide with the classical
confidence intervals: nothing to tune, and a coverage that can be checked. Errors are assumed
independent and normal, which holds only approximately for cells that share examples or seeds (see
`intercept` and `overlap`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

Floats = NDArray[np.float64]
ONE_SIGMA = float(special.erf(1 / math.sqrt(2)))  # 0.6827: probability within one standard deviation of a normal
SINGULAR = 1e-10  # relative spread of a predictor, beyond what the others explain, below which it counts as collinear
GRID = 1001  # points of the quadrature over one posterior


@dataclass(frozen=True)
class StudentT:
    """A posterior ``center + scale * t``, t being Student's t with ``degrees`` degrees of freedom."""

    center: float
    scale: float
    degrees: float

    @property
    def sd(self) -> float:
        """Standard deviation; NaN with two degrees of freedom or fewer, where it does not exist."""
        return self.scale * math.sqrt(self.degrees / (self.degrees - 2)) if self.degrees > 2 else math.nan

    def interval(self, share: float = 0.95) -> tuple[float, float]:
        """The central credible interval with probability ``share``."""
        reach = self.scale * float(special.stdtrit(self.degrees, (1 + share) / 2))
        return self.center - reach, self.center + reach


@dataclass(frozen=True)
class Fit:
    """A fitted linear model.

    Attributes:
        coefficients: Intercept first, shape (p,).
        unscaled: (X'X)^-1, shape (p, p).
        residual_sd: sqrt(RSS / degrees).
        degrees: Degrees of freedom, n - p.
    """

    coefficients: Floats
    unscaled: Floats
    residual_sd: float
    degrees: int

    @property
    def slope(self) -> StudentT:
        """The posterior of the first predictor's coefficient."""
        return self._posterior(np.eye(len(self.coefficients))[1])

    @property
    def sigma(self) -> float:
        """Posterior mean of the residual standard deviation; NaN with one degree of freedom, where it is infinite.

        ``s sqrt(nu / 2) Gamma((nu - 1) / 2) / Gamma(nu / 2)``: the mean of the square root of a
        scaled inverse chi-squared variable.
        """
        half = self.degrees / 2
        if self.degrees < 2:
            return math.nan
        return self.residual_sd * math.sqrt(half) * math.exp(math.lgamma(half - 0.5) - math.lgamma(half))

    def band(self, x: Floats, *, share: float = ONE_SIGMA) -> tuple[Floats, Floats, Floats]:
        """The posterior of the line at ``x``, for a fit with one predictor.

        Args:
            x: Values of the predictor, shape (points,).
            share: Probability of the central interval.

        Returns:
            Mean, lower and upper limit, each of shape (points,).
        """
        rows = np.column_stack([np.ones_like(x), x])
        mean = rows @ self.coefficients
        scale = self.residual_sd * np.sqrt(np.einsum("ij,jk,ik->i", rows, self.unscaled, rows))
        reach = scale * special.stdtrit(self.degrees, (1 + share) / 2)
        return mean, mean - reach, mean + reach

    def _posterior(self, weights: Floats) -> StudentT:
        return StudentT(
            float(weights @ self.coefficients),
            self.residual_sd * math.sqrt(weights @ self.unscaled @ weights),
            self.degrees,
        )


def fit_line(x: Floats, y: Floats, *covariates: Floats) -> Fit | None:
    """Regress ``y`` on ``x`` and covariates.

    Args:
        x: Predictor, shape (n,).
        y: Response, shape (n,).
        covariates: Variables to control for, each of shape (n,).

    Returns:
        The posterior. None without a degree of freedom, or if a predictor is constant or a linear
        function of the others.
    """
    n, p = len(x), 2 + len(covariates)
    if n <= p:
        return None
    predictors = np.column_stack([x, *covariates])
    means = predictors.mean(axis=0)
    centred = predictors - means
    sizes = np.sqrt((centred**2).sum(axis=0))
    if (sizes <= SINGULAR * np.maximum(np.abs(means), np.finfo(float).tiny) * math.sqrt(n)).any():
        return None
    orthogonal, triangle = np.linalg.qr(centred / sizes)
    if np.abs(np.diag(triangle)).min() <= math.sqrt(SINGULAR):
        return None
    inverse = np.linalg.inv(triangle) / sizes[:, None]
    slopes = inverse @ (orthogonal.T @ (y - y.mean()))
    residuals = y - y.mean() - centred @ slopes
    of_slopes = inverse @ inverse.T  # centred predictors are orthogonal to the intercept, so X'X inverts by blocks
    corner = -of_slopes @ means
    unscaled = np.block([[np.array([[1 / n - means @ corner]]), corner[None, :]], [corner[:, None], of_slopes]])
    coefficients = np.concatenate([[y.mean() - means @ slopes], slopes])
    return Fit(coefficients, unscaled, math.sqrt(residuals @ residuals / (n - p)), n - p)


def explained(x: Floats, covariate: Floats) -> float:
    """R^2 of ``x`` on ``covariate``, each of shape (n,); NaN if one of them is constant.

    At 1 no regression can separate the two.
    """
    x_centred, covariate_centred = x - x.mean(), covariate - covariate.mean()
    product = (x_centred @ x_centred) * (covariate_centred @ covariate_centred)
    return float((x_centred @ covariate_centred) ** 2 / product) if product > 0 else math.nan


@dataclass(frozen=True)
class Difference:
    """The posterior of ``a - b``: mean, standard deviation, 95 % interval and the probability that ``a`` is larger."""

    mean: float
    sd: float
    low: float
    high: float
    probability: float


def difference(a: StudentT, b: StudentT, *, share: float = 0.95) -> Difference:
    """The difference of two independent slopes, which has a Behrens-Fisher distribution.

    Its distribution function is the mean of that of ``a`` over the quantiles of ``b`` at ``GRID``
    midpoints: exact up to the quadrature, without random draws. Slopes of ladders that share
    examples or seeds are not independent, as is assumed here.

    Args:
        a: Posterior of the first slope.
        b: Posterior of the second slope.
        share: Probability of the interval.
    """
    mean, spread, quantiles = a.center - b.center, a.scale + b.scale, _quantiles(b)
    probability = _exceeds(a, quantiles, 0.0)
    if spread == 0:
        return Difference(mean, 0.0, mean, mean, probability)
    reach = 2 * spread * float(special.stdtrit(min(a.degrees, b.degrees), (1 + share) / 2))

    def exceeded_with(target: float) -> float:
        """The value that the difference exceeds with probability ``target``."""
        root = optimize.brentq(
            lambda by: _exceeds(a, quantiles, by) - target, mean - reach, mean + reach, xtol=1e-9 * spread
        )
        return float(root)

    low, high = exceeded_with((1 + share) / 2), exceeded_with((1 - share) / 2)
    return Difference(mean, math.hypot(a.sd, b.sd), low, high, probability)


def _quantiles(posterior: StudentT) -> Floats:
    midpoints = (np.arange(GRID) + 0.5) / GRID
    return np.asarray(
        posterior.center + posterior.scale * special.stdtrit(posterior.degrees, midpoints), dtype=np.float64
    )


def _exceeds(a: StudentT, quantiles: Floats, by: float) -> float:
    """The probability that ``a`` exceeds a variable with these quantiles by more than ``by``.

    If ``a`` has scale 0, ties count half.
    """
    excess = a.center - quantiles - by
    return float((special.stdtr(a.degrees, excess / a.scale) if a.scale else (1 + np.sign(excess)) / 2).mean())
