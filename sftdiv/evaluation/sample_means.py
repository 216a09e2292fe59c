"""Means of values of examples that are not independent, or come from several sources, with their standard errors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sftdiv.records import Score


def first_of_clusters(clusters: NDArray[np.int64], mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Rows of the first example of each cluster among the masked examples, shape (clusters,)."""
    rows = np.flatnonzero(mask)
    return rows[np.unique(clusters[rows], return_index=True)[1]]


def macro_mean(samples: Sequence[NDArray[np.float64]]) -> Score:
    """Unweighted mean of the means of independent samples.

    Its standard error is sqrt(sum of s_k^2 / n_k) / K (stratified sampling with equal weights; Cochran, Sampling
    Techniques, chapter 5). A sample of one value is given the pooled variance of the others; NaN if all are.

    Args:
        samples: Values of each of the K samples, none empty.
    """
    sizes = np.array([len(values) for values in samples])
    squares = np.array([np.square(values - values.mean()).sum() for values in samples])
    mean = float(np.mean([values.mean() for values in samples]))
    freedom = int((sizes - 1).sum())
    if not freedom:
        return Score(mean, float("nan"))
    variances = np.where(sizes > 1, squares / np.maximum(sizes - 1, 1), squares.sum() / freedom)
    return Score(mean, float(np.sqrt((variances / sizes).sum()) / len(samples)))


def ratio_score(
    numerators: NDArray[np.float64], denominators: NDArray[np.float64], clusters: NDArray[np.int64]
) -> Score:
    """Ratio of two sums over examples, with a standard error that allows for dependence within clusters.

    The linearised ratio (Cochran, Sampling Techniques, chapter 6): the residual of a cluster is the
    sum over its examples of numerator - ratio * denominator.

    Args:
        numerators: Shape (examples,).
        denominators: Shape (examples,).
        clusters: Cluster of each example, shape (examples,); a single cluster gives a NaN error.
    """
    total = denominators.sum()
    ratio = float(numerators.sum() / total)
    _, members = np.unique(clusters, return_inverse=True)
    residuals = np.bincount(members, weights=numerators - ratio * denominators)
    count = len(residuals)
    if count < 2:
        return Score(ratio, float("nan"))
    return Score(ratio, float(np.sqrt(count / (count - 1) * np.square(residuals).sum()) / total))
