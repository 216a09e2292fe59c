"""Bayesian linear regression with the reference prior p(b, sigma^2) ~ 1 / sigma^2, in closed form.

In: arrays of a predictor, perhaps a covariate, and a response. Out: the posterior. Under this prior
the coefficients are multivariate Student t about the least-squares fit with n - p degrees of
freedom, and sigma^2 is scaled inverse chi-squared (Gelman et al., Bayesian Data Analysis, 3rd
edition, 14.2), so that credible intervals coincide with the classical confidence intervals: nothing
to tune, and a coverage that can be checked. The trade: errors are taken as independent and normal;
cells that share examples or seeds are neither quite (see `intercept` and `overlap`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

Floats = NDArray[np.float64]
ONE_SIGMA = float(
    special.erf(1 / math.sqrt(2))
)  # 0.6827: what a normal distribution holds within one standard deviation
SINGULAR = 1e-10  # a predictor whose spread, beyond what the others explain, is this small a share of its size tells nothing of its own
GRID = 1001  # points of the quadrature over one posterior


@dataclass(frozen=True)
class StudentT:
    """A posterior ``center + scale * t`` with ``degrees`` degrees of freedom."""

    center: float
    scale: float
    degrees: float

    @property
    def sd(self) -> float:
        """The standard deviation; NaN with two degrees of freedom or fewer, where the distribution has none."""
        return self.scale * math.sqrt(self.degrees / (self.degrees - 2)) if self.degrees > 2 else math.nan

    def interval(self, share: float = 0.95) -> tuple[float, float]:
        """The central credible interval that holds ``share`` of the probability."""
        reach = self.scale * float(special.stdtrit(self.degrees, (1 + share) / 2))
        return self.center - reach, self.center + reach


@dataclass(frozen=True)
class Fit:
    """A fitted linear model: ``coefficients`` (p,), intercept first; ``unscaled``, (X'X)^-1; ``residual_sd``, sqrt(RSS / degrees)."""

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
        """The posterior mean of the residual standard deviation; NaN with one degree of freedom, where it is infinite.

        ``s sqrt(nu / 2) Gamma((nu - 1) / 2) / Gamma(nu / 2)``: the mean of the square root of a
        scaled inverse chi-squared variable.
        """
        half = self.degrees / 2
        if self.degrees < 2:
            return math.nan
        return self.residual_sd * math.sqrt(half) * math.exp(math.lgamma(half - 0.5) - math.lgamma(half))

    def band(self, x: Floats, *, share: float = ONE_SIGMA) -> tuple[Floats, Floats, Floats]:
        """The line with one predictor at ``x`` (points,): its posterior mean and the ends of its central interval, each (points,)."""
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
    """Regress ``y`` on ``x`` and whatever is to be controlled for.

    Args:
        x: The predictor, shape (n,).
        y: The response, shape (n,).
        covariates: Each of shape (n,).

    Returns:
        The posterior, or None where there is none: no degree of freedom left, or a predictor that
        is constant or follows from the others.
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
    among = (
        inverse @ inverse.T
    )  # of the slopes; the centred predictors leave the mean of y alone, so that X'X inverts by blocks
    corner = -among @ means
    unscaled = np.block([[np.array([[1 / n - means @ corner]]), corner[None, :]], [corner[:, None], among]])
    coefficients = np.concatenate([[y.mean() - means @ slopes], slopes])
    return Fit(coefficients, unscaled, math.sqrt(residuals @ residuals / (n - p)), n - p)


def explained(x: Floats, covariate: Floats) -> float:
    """R^2 of ``x`` on ``covariate``, each (n,): 1 means that no regression tells them apart; NaN where one of them is constant."""
    centred, other = x - x.mean(), covariate - covariate.mean()
    product = (centred @ centred) * (other @ other)
    return float((centred @ other) ** 2 / product) if product > 0 else math.nan


@dataclass(frozen=True)
class Difference:
    """The posterior of ``a - b``: mean, standard deviation, 95 % interval and the probability that ``a`` is larger."""

    mean: float
    sd: float
    low: float
    high: float
    probability: float


def probability_larger(a: StudentT, b: StudentT, *, by: float = 0.0) -> float:
    """The probability that ``a`` exceeds ``b`` by more than ``by``, the two being independent; see ``difference``."""
    return _exceeds(a, _quantiles(b), by)


def difference(a: StudentT, b: StudentT, *, share: float = 0.95) -> Difference:
    """The difference of two independent slopes, a Behrens-Fisher distribution.

    Its distribution function is the mean of a's over b's quantiles, taken at ``GRID`` midpoints:
    exact but for the quadrature, and without random draws. Slopes of ladders that share examples or
    seeds are not independent, as this takes them to be.

    Args:
        a: One slope's posterior.
        b: The other's.
        share: What the interval holds.
    """
    mean, spread, quantiles = a.center - b.center, a.scale + b.scale, _quantiles(b)
    probability = _exceeds(a, quantiles, 0.0)
    if spread == 0:
        return Difference(mean, 0.0, mean, mean, probability)
    reach = 2 * spread * float(special.stdtrit(min(a.degrees, b.degrees), (1 + share) / 2))

    def end(beyond: float) -> float:
        """The value that the difference exceeds with this probability."""
        return float(
            optimize.brentq(
                lambda by: _exceeds(a, quantiles, by) - beyond, mean - reach, mean + reach, xtol=1e-9 * spread
            )
        )

    return Difference(mean, math.hypot(a.sd, b.sd), end((1 + share) / 2), end((1 - share) / 2), probability)


def _quantiles(posterior: StudentT) -> Floats:
    midpoints = (np.arange(GRID) + 0.5) / GRID
    return np.asarray(
        posterior.center + posterior.scale * special.stdtrit(posterior.degrees, midpoints), dtype=np.float64
    )


def _exceeds(a: StudentT, quantiles: Floats, by: float) -> float:
    """The probability that ``a`` exceeds a variable with these quantiles by more than ``by``; ties of certain values count half."""
    beyond = a.center - quantiles - by
    return float((special.stdtr(a.degrees, beyond / a.scale) if a.scale else (1 + np.sign(beyond)) / 2).mean())
