"""Least squares whose errors are dependent within clusters: CR2 standard errors with Satterthwaite degrees.

The input is a design matrix, a response and the cluster of each row; the output is the estimate of
a linear combination of the coefficients, its standard error and its degrees of freedom.
Residuals of a cluster are multiplied by ``(I - H_gg)^(-1/2)``, which makes the variance unbiased if
the errors are independent (Bell & McCaffrey 2002, Survey Methodology 28, "bias-reduced
linearization"; Pustejovsky & Tipton 2018, Journal of Business & Economic Statistics 36, who name it
CR2). The degrees of freedom are those of the chi-squared variable with the mean and variance that the
variance estimate has under independent errors of equal variance. With few clusters they are far
below the number of clusters less two: 2.9 for seven equidistant levels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sftdiv.analysis.student_t import StudentT

Floats = NDArray[np.float64]
SINGULAR = 1e-9  # eigenvalue of I - H_gg below which the cluster determines its own fit


@dataclass(frozen=True)
class ClusterFit:
    """A least-squares fit with clusters.

    Attributes:
        weights: (X'X)^-1 X', shape (p, n).
        coefficients: Shape (p,).
        adjusted: One matrix per cluster, of shape (members, n): the CR2-adjusted residuals of the
            cluster as linear functions of the response.
        residuals: Adjusted residuals, one array of shape (members,) per cluster.
        members: Rows of each cluster.
    """

    weights: Floats
    coefficients: Floats
    adjusted: tuple[Floats, ...]
    residuals: tuple[Floats, ...]
    members: tuple[NDArray[np.int64], ...]

    def with_response(self, y: Floats) -> ClusterFit:
        """The same design fitted to another response, shape (n,)."""
        residuals = tuple(matrix @ y for matrix in self.adjusted)
        return replace(self, coefficients=self.weights @ y, residuals=residuals)

    def contrast(self, combination: Floats) -> StudentT:
        """Estimate, standard error and degrees of freedom of ``combination @ coefficients``.

        Args:
            combination: Shape (p,).
        """
        row = combination @ self.weights
        scores = [float(row[rows] @ residuals) for rows, residuals in zip(self.members, self.residuals, strict=True)]
        forms = np.stack([row[rows] @ matrix for rows, matrix in zip(self.members, self.adjusted, strict=True)])
        gram = forms @ forms.T
        squares = float((gram**2).sum())
        degrees = float(np.trace(gram) ** 2 / squares) if squares > 0 else np.nan
        return StudentT(float(combination @ self.coefficients), float(np.sqrt(np.square(scores).sum())), degrees)


def fit_clusters(design: Floats, y: Floats, clusters: NDArray[np.int64]) -> ClusterFit | None:
    """Fit ``y`` by least squares.

    Args:
        design: Design matrix, shape (n, p), with its column of ones.
        y: Response, shape (n,).
        clusters: Cluster of each row, shape (n,).

    Returns:
        The fit; None if there are no more clusters than coefficients, or if the columns of the
        design are linearly dependent.
    """
    n, p = design.shape
    names, group = np.unique(clusters, return_inverse=True)
    if len(names) <= p or not has_full_rank(design):
        return None
    weights = np.asarray(np.linalg.pinv(design), dtype=np.float64)
    hat = design @ weights
    residual_maker = np.eye(n) - hat
    members = tuple(np.flatnonzero(group == index) for index in range(len(names)))
    adjusted = tuple(_inverse_root(residual_maker[np.ix_(rows, rows)]) @ residual_maker[rows] for rows in members)
    return ClusterFit(weights, weights @ y, adjusted, tuple(matrix @ y for matrix in adjusted), members)


def has_full_rank(design: Floats) -> bool:
    """Whether no column of a design matrix is, up to rounding, a linear combination of the others."""
    scale = np.sqrt((design**2).sum(axis=0))
    if (scale == 0).any() or len(design) < design.shape[1]:
        return False
    smallest = np.linalg.svd(design / scale, compute_uv=False)[-1]
    return bool(smallest > 1e-10 * np.sqrt(len(design)))


def _inverse_root(matrix: Floats) -> Floats:
    """The symmetric (pseudo-)inverse square root of a positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    roots = np.where(values > SINGULAR, 1 / np.sqrt(np.where(values > SINGULAR, values, 1.0)), 0.0)
    return np.asarray((vectors * roots) @ vectors.T, dtype=np.float64)
