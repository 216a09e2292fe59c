"""Student t distributions of estimates, their differences, and the R² of two variables.

An estimate with a standard error and degrees of freedom is a Student t distribution: the posterior under the
reference prior p(b, sigma^2) ~ 1 / sigma^2 (Gelman et al., Bayesian Data Analysis, 3rd edition, 14.2), whose
credible intervals are the classical confidence intervals. Nothing is tuned, and the coverage can be checked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

Floats = NDArray[np.float64]
ONE_SIGMA = float(special.erf(1 / math.sqrt(2)))  # 0.6827: probability within one standard deviation of a normal
GRID = 1001  # points of the quadrature over one posterior


@dataclass(frozen=True)
class StudentT:
    """An estimate ``center + scale * t``: ``scale`` is its standard error, t Student's with ``degrees`` of freedom."""

    center: float
    scale: float
    degrees: float

    @property
    def sd(self) -> float:
        """Standard deviation; NaN with two degrees of freedom or fewer, where it does not exist."""
        return self.scale * math.sqrt(self.degrees / (self.degrees - 2)) if self.degrees > 2 else math.nan

    def interval(self, share: float = 0.95) -> tuple[float, float]:
        """The central interval with probability ``share``."""
        reach = self.scale * float(special.stdtrit(self.degrees, (1 + share) / 2))
        return self.center - reach, self.center + reach


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
