"""Inference about a ladder design: which runs are independent, and what follows for an interval.

The experimental unit of the question "does diversity matter?" is the ladder: which types are kept at
a level is one draw, shared by every run on it. The input is arrays over the cells of one series
(the cells that a line is drawn through), and the output is Student t distributions of linear
combinations of the coefficients of a linear model.

- Replicated: with two or more ladders, the model is fitted within each ladder, and the mean over
  ladders has the standard error of independent values: t with ladders - 1 degrees of freedom.
  Whatever happens within a ladder (seed intercepts, effects of levels, effects that accumulate along
  nested pools, saturation, unequal noise) is the same for all ladders and enters their spread.
- Shared: with one ladder nothing estimates the spread between ladders. The levels are then the
  clusters of `cluster_robust`. That interval holds for this ladder only, and only if the effects of
  levels are independent: if they accumulate along the nested pools it covers the truth in 69 % of the
  studies (``benchmarks/coverage.md``). Such a slope is never a finding.

Items of the evaluation are a sample too. Where the scores of each item are known, the variance of
the items' own slopes is added: crossed random effects of ladder and item.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from sftdiv.analysis.cluster_robust import ClusterFit, fit_clusters, has_full_rank
from sftdiv.analysis.student_t import StudentT

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Design = Literal["replicated", "shared"]
LEAST_LADDERS = 3  # of a finding: at 2 the t distribution has one degree of freedom and no mean
LEAST_DEGREES = 5  # of a finding: residual degrees of freedom within ladders, or of a shared ladder's slope
TOO_FEW, ONE_LADDER = "too few runs", "one ladder"


@dataclass(frozen=True)
class LadderModel:
    """A linear model of one series.

    Attributes:
        design: ``replicated`` or ``shared``.
        ladders: Number of ladders with a fit.
        residual_degrees: Residual degrees of freedom within ladders.
        within: For each ladder, its rows and (X'X)^-1 X', shape (p, rows).
        y: Performance of each cell, shape (n,).
        clusters: The fit with levels as clusters; None for replicated ladders.
        items: Score of each item in each cell, shape (n, items); None if unknown.
    """

    design: Design
    ladders: int
    residual_degrees: int
    within: Sequence[tuple[Ints, Floats]]
    y: Floats
    clusters: ClusterFit | None
    items: Floats | None = None

    def with_response(self, y: Floats, items: Floats | None = None) -> LadderModel:
        """The same design fitted to another response, shape (n,), and its items."""
        clusters = None if self.clusters is None else self.clusters.with_response(y)
        return replace(self, y=y, clusters=clusters, items=items)

    @property
    def coefficients(self) -> Floats:
        """Mean coefficients over ladders, intercept first, shape (p,)."""
        return np.mean([weights @ self.y[rows] for rows, weights in self.within], axis=0)

    def by_ladder(self, combination: Floats) -> Floats:
        """The estimate of ``combination @ coefficients`` in each ladder, shape (ladders,)."""
        return np.array([combination @ weights @ self.y[rows] for rows, weights in self.within])

    def contrast(self, combination: Floats) -> StudentT:
        """The distribution of ``combination @ coefficients``, sampling of items included where it is known.

        Args:
            combination: Shape (p,).
        """
        estimate = (
            mean_of(self.by_ladder(combination)) if self.clusters is None else self.clusters.contrast(combination)
        )
        return estimate if self.items is None else _with_items(estimate, self.item_variance(combination))

    def item_variance(self, combination: Floats) -> tuple[float, int]:
        """Variance of the mean over items of their own effects, and its degrees of freedom.

        The mean square of items less that of the interaction of items and ladders (or cells), which the
        spread of ladders contains already; at least 0.
        """
        assert self.items is not None
        rows_of = [(rows, combination @ weights) for rows, weights in self.within]
        effects = np.stack([row @ self.items[rows] for rows, row in rows_of])  # (ladders, items)
        ladders, items = effects.shape
        main = effects.mean(axis=0)
        if self.design == "replicated":
            rest = effects - main - effects.mean(axis=1, keepdims=True) + main.mean()
            interaction = float((rest**2).sum()) / ((ladders - 1) * (items - 1) * ladders * items)
        else:
            (rows, weights), row = self.within[0], rows_of[0][1]
            scores = self.items[rows]
            rest = scores - np.linalg.pinv(weights) @ (weights @ scores)
            rest = rest - rest.mean(axis=1, keepdims=True)
            residual = float((rest**2).sum()) / ((len(rows) - len(weights)) * (items - 1))
            interaction = residual * float(row @ row) / items
        return max(0.0, float(main.var(ddof=1)) / items - interaction), items - 1

    @property
    def residual_sd(self) -> float:
        """Pooled residual standard deviation around the line of each ladder; NaN without degrees of freedom."""
        squares = 0.0
        for rows, weights in self.within:
            residuals = self.y[rows] - np.linalg.pinv(weights) @ (weights @ self.y[rows])
            squares += float(residuals @ residuals)
        return math.sqrt(squares / self.residual_degrees) if self.residual_degrees > 0 else math.nan

    @property
    def status(self) -> str:
        """Why a slope of this model is no finding whatever its interval; empty if it may be one."""
        if self.design == "replicated":
            enough = self.ladders >= LEAST_LADDERS and self.residual_degrees >= LEAST_DEGREES
            return "" if enough else TOO_FEW
        assert self.clusters is not None
        degrees = self.clusters.contrast(np.eye(len(self.within[0][1]))[1]).degrees  # of levels, whatever the items
        return ONE_LADDER if degrees >= LEAST_DEGREES else f"{TOO_FEW}, {ONE_LADDER}"


def fit_ladders(
    predictors: Floats, y: Floats, *, ladders: Ints, levels: Floats, items: Floats | None = None
) -> LadderModel | None:
    """Fit a linear model to the cells of a series.

    Args:
        predictors: Shape (n, predictors), without the column of ones.
        y: Performance, shape (n,).
        ladders: Ladder of each cell, shape (n,).
        levels: Level of each cell, shape (n,): the clusters of a shared ladder.
        items: Scores of each item, shape (n, items), if known.

    Returns:
        The model; None if too few cells or linearly dependent predictors leave no ladder with a fit
        (replicated: fewer than two).
    """
    design = np.column_stack([np.ones(len(y)), predictors])
    names = np.unique(ladders)
    groups = [np.flatnonzero(ladders == name) for name in names]
    within = [(rows, np.linalg.pinv(design[rows])) for rows in groups if has_full_rank(design[rows])]
    degrees = sum(len(rows) - design.shape[1] for rows, _ in within)
    usable = items if items is not None and items.shape[1] > 1 else None
    if len(names) > 1:
        return LadderModel("replicated", len(within), degrees, within, y, None, usable) if len(within) > 1 else None
    if not within or degrees < 1:
        return None
    clusters = fit_clusters(design, y, np.unique(levels, return_inverse=True)[1])
    return LadderModel("shared", 1, degrees, within, y, clusters, usable) if clusters else None


def mean_of(values: Floats) -> StudentT:
    """The mean of independent values and its standard error: t with one degree of freedom less than values."""
    return StudentT(float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values))), len(values) - 1)


def _with_items(estimate: StudentT, item_variance: tuple[float, int]) -> StudentT:
    """The estimate with the variance of items added; Satterthwaite's degrees of freedom of the sum."""
    variance, degrees = item_variance
    total = estimate.scale**2 + variance
    spread = estimate.scale**4 / estimate.degrees + variance**2 / degrees
    combined = total**2 / spread if spread > 0 else estimate.degrees
    return StudentT(estimate.center, math.sqrt(total), combined)


def p_value(estimate: StudentT) -> float:
    """Two-sided p-value of no effect; NaN without degrees of freedom or spread."""
    if not estimate.scale > 0 or not estimate.degrees > 0:
        return math.nan
    return float(2 * special.stdtr(estimate.degrees, -abs(estimate.center) / estimate.scale))
