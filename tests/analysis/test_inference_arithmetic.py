"""Cluster-robust errors, means over ladders and crossed item effects against versions written apart."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import statsmodels.api as sm
from scipy import stats

from sftdiv.analysis.cluster_robust import fit_clusters
from sftdiv.analysis.inference import ONE_LADDER, TOO_FEW, fit_ladders, p_value

SLOPE = np.array([0.0, 1.0])


@pytest.fixture
def unbalanced():
    """A predictor that varies within clusters, a covariate, and five clusters of 2 to 6 rows."""
    rng = np.random.default_rng(3)
    clusters = np.repeat(np.arange(5), [4, 2, 6, 3, 5])
    design = np.column_stack([np.ones(20), clusters / 4 + rng.normal(0, 0.2, 20), rng.normal(size=20)])
    return design, design @ [0.3, 0.1, -0.2] + rng.normal(0, 0.1, 5)[clusters] + rng.normal(0, 0.05, 20), clusters


def test_cr2_agrees_with_a_version_written_apart(unbalanced):
    """Pustejovsky & Tipton (2018), equations 4, 5 and 11, in their order: bread, adjusted meat by matrix
    square roots, and the moments of the quadratic form e'Qe under a working identity covariance."""
    design, y, clusters = unbalanced
    fit = fit_clusters(design, y, clusters)
    bread = np.linalg.inv(design.T @ design)
    residual_maker = np.eye(20) - design @ bread @ design.T
    residuals = residual_maker @ y
    meat, forms = np.zeros((3, 3)), {}
    for cluster in np.unique(clusters):
        rows = clusters == cluster
        block = residual_maker[np.ix_(rows, rows)]
        adjust = np.linalg.inv(np.real(scipy.linalg.sqrtm(block)))
        score = design[rows].T @ adjust @ residuals[rows]
        meat += np.outer(score, score)
        forms[cluster] = (rows, adjust)
    covariance = bread @ meat @ bread
    for combination in (SLOPE_OF_THREE, np.array([1.0, 0.5, 0.0]), np.array([0.0, 0.0, 1.0])):
        quadratic = np.zeros((20, 20))
        for rows, adjust in forms.values():
            vector = np.zeros(20)
            vector[rows] = adjust @ design[rows] @ bread @ combination
            quadratic += np.outer(vector, vector)
        moments = quadratic @ residual_maker
        degrees = np.trace(moments) ** 2 / np.trace(moments @ moments)
        found = fit.contrast(combination)
        assert found.center == pytest.approx(combination @ bread @ design.T @ y)
        assert found.scale == pytest.approx(np.sqrt(combination @ covariance @ combination))
        assert found.degrees == pytest.approx(degrees)


SLOPE_OF_THREE = np.array([0.0, 1.0, 0.0])


def test_the_variance_is_unbiased_and_its_degrees_are_those_of_its_scatter(unbalanced):
    """Under independent errors: mean of the variance estimate = true variance, and 2 mean^2 / variance = degrees."""
    design, _, clusters = unbalanced
    fit = fit_clusters(design, np.zeros(20), clusters)
    rng = np.random.default_rng(0)
    found = [fit.with_response(rng.normal(size=20)).contrast(SLOPE_OF_THREE) for _ in range(4000)]
    variances = np.array([estimate.scale**2 for estimate in found])
    true = np.linalg.inv(design.T @ design)[1, 1]
    assert variances.mean() == pytest.approx(true, rel=0.05)
    assert 2 * variances.mean() ** 2 / variances.var() == pytest.approx(found[0].degrees, rel=0.1)


def test_balanced_levels_have_hc2_errors_of_their_means():
    """A predictor constant within equal clusters: CR2 is HC2 on the cluster means; seven levels have 2.9 degrees."""
    rng = np.random.default_rng(1)
    levels = np.repeat(np.arange(7), 3) / 6
    y = 0.1 * levels + rng.normal(0, 0.05, 21)
    found = fit_ladders(levels[:, None], y, ladders=np.zeros(21, dtype=int), levels=levels).contrast(SLOPE)
    means = y.reshape(7, 3).mean(axis=1)
    theirs = sm.OLS(means, sm.add_constant(np.arange(7) / 6)).fit(cov_type="HC2")
    assert (found.center, found.scale) == pytest.approx((theirs.params[1], theirs.bse[1]))
    assert found.degrees == pytest.approx(2.90, abs=0.005)


def test_no_cluster_fit_without_more_clusters_than_coefficients():
    x = np.array([0.0, 0, 1, 1])
    design = np.column_stack([np.ones(4), x])
    assert fit_clusters(design, x, x.astype(int)) is None
    assert fit_clusters(np.column_stack([design, 2 * x + 1]), x, np.arange(4)) is None


def ladders(count, *, levels=4, rng, slopes=None):
    ladder, level = np.repeat(np.arange(count), levels), np.tile(np.arange(levels) / (levels - 1), count)
    slopes = np.full(count, 0.1) if slopes is None else slopes
    return ladder, level, slopes[ladder] * level + rng.normal(0, 0.05, len(level))


def test_replicated_ladders_are_a_t_test_of_their_slopes():
    ladder, level, y = ladders(5, rng=np.random.default_rng(2))
    model = fit_ladders(level[:, None], y, ladders=ladder, levels=level)
    slopes = [stats.linregress(level[ladder == one], y[ladder == one]).slope for one in range(5)]
    found, theirs = model.contrast(SLOPE), stats.ttest_1samp(slopes, 0)
    assert (found.center, found.degrees, model.status) == (pytest.approx(np.mean(slopes)), 4, "")
    assert found.interval() == pytest.approx(tuple(theirs.confidence_interval()))
    assert p_value(found) == pytest.approx(theirs.pvalue)


@pytest.mark.parametrize(
    ("count", "levels", "status"),
    [(2, 7, TOO_FEW), (3, 3, TOO_FEW), (3, 4, ""), (6, 3, ""), (1, 7, f"{TOO_FEW}, {ONE_LADDER}"), (1, 12, ONE_LADDER)],
)
def test_what_may_be_a_finding(count, levels, status):
    ladder, level, y = ladders(count, levels=levels, rng=np.random.default_rng(0))
    assert fit_ladders(level[:, None], y, ladders=ladder, levels=level).status == status


@pytest.mark.parametrize("count", [1, 6])
def test_item_variance_is_that_of_items_own_slopes(count):
    """Items whose slopes scatter with SD 0.5 add 0.25 / 100 to the variance; items that only differ in difficulty
    add nothing."""
    rng = np.random.default_rng(4)
    ladder, level, _ = ladders(count, levels=8, rng=rng)
    variances = {0.0: [], 0.5: []}
    for scatter, found in variances.items():
        for _ in range(200):
            difficulty, slopes = rng.normal(size=100), rng.normal(0, scatter, 100)
            items = difficulty + level[:, None] * slopes + rng.normal(0, 0.3, (len(level), 100))
            y = items.mean(axis=1)
            plain = fit_ladders(level[:, None], y, ladders=ladder, levels=level)
            crossed = plain.with_response(y, items)
            assert crossed.contrast(SLOPE).center == plain.contrast(SLOPE).center
            found.append(crossed.contrast(SLOPE).scale ** 2 - plain.contrast(SLOPE).scale ** 2)
    assert np.mean(variances[0.5]) == pytest.approx(0.25 / 100, rel=0.07)
    assert 0 <= np.mean(variances[0.0]) < 0.1 * 0.25 / 100  # cut at zero, so a little above


def test_slopes_of_ladders_by_hand():
    """Ladders 0, 1, 2 and 0, 2, 4 and 3, 3, 3 at levels 0, 1/2, 1 have slopes 2, 4 and 0: mean 2, SD 2."""
    ladder, level = np.repeat([0, 1, 2], 3), np.tile([0.0, 0.5, 1.0], 3)
    y = np.array([0.0, 1, 2, 0, 2, 4, 3, 3, 3])
    found = fit_ladders(level[:, None], y, ladders=ladder, levels=level).contrast(SLOPE)
    assert (found.center, found.scale, found.degrees) == (pytest.approx(2), pytest.approx(2 / np.sqrt(3)), 2)
    reach = 4.302652730 * 2 / np.sqrt(3)
    assert found.interval() == pytest.approx((2 - reach, 2 + reach))


def test_there_is_no_line_without_spread_or_ladders_to_compare():
    level, one = np.array([0.0, 1, 2, 3]), np.zeros(4, dtype=int)
    y = np.array([1.0, 2, 4, 3])

    def fit(*predictors, ladders=one, levels=level):
        return fit_ladders(np.column_stack(predictors), y[: len(levels)], ladders=ladders, levels=levels)

    assert fit(np.full(4, 0.1)) is None
    assert fit(level, 0.3 + 7 * level) is None  # the covariate follows from the predictor
    assert fit(level[:2], ladders=one[:2], levels=level[:2]) is None
    assert fit(level, ladders=np.array([0, 0, 0, 1])) is None  # the second ladder has one level
    assert fit(1e6 + level).contrast(SLOPE).center == pytest.approx(0.8)  # far from zero there is spread all the same
