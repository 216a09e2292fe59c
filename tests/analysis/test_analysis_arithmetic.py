"""The arithmetic of the analysis against values worked out by hand, and against scipy, statsmodels and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import statsmodels.api as sm
from scipy import stats
from sklearn.metrics import jaccard_score
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import ttest_power

from sftdiv.analysis import correlation
from sftdiv.analysis.multiplicity import false_discovery, holm
from sftdiv.analysis.overlap import by_level, jaccard
from sftdiv.analysis.power import SlopeNoise, ladders_needed, power
from sftdiv.analysis.student_t import StudentT, difference, explained
from sftdiv.analysis.variance_components import estimate_components, nested_partitions

SAME = {"rel": 1e-8, "abs": 1e-8}


def array(*values):
    return np.array(values, dtype=float)


@pytest.fixture
def made_up():
    """Three seeds, one of them with fewer cells, at irregular levels; y = 0.3 + 0.1 x + a seed's shift + noise."""
    rng = np.random.default_rng(7)
    seeds = np.repeat([0, 1, 2], [7, 7, 4])
    x = np.concatenate([np.linspace(0, 1, 7), np.linspace(0, 1, 7), array(0, 0.1, 0.5, 0.6)])
    covariate = 20 + 8 * x + rng.normal(0, 2, len(x))
    return x, 0.3 + 0.1 * x + array(0.02, -0.03, 0.01)[seeds] + rng.normal(0, 0.02, len(x)), covariate, seeds


def test_explained_and_partial_correlation_agree_with_regression(made_up):
    x, y, covariate, _ = made_up
    on_covariate = sm.OLS(x, sm.add_constant(covariate)).fit()
    assert explained(x, covariate) == pytest.approx(on_covariate.rsquared, **SAME)
    left = sm.OLS(y, sm.add_constant(covariate)).fit().resid
    assert correlation.partial(x, y, covariate) == pytest.approx(
        stats.pearsonr(on_covariate.resid, left).statistic, **SAME
    )
    assert math.isnan(explained(x, np.full_like(x, 3.0)))
    assert math.isnan(correlation.partial(x, y, 2 * x + 1))


def over_levels(x, y, *, ranked=False):
    """Each cell a level of its own."""
    return correlation.over_levels(x, y, levels=np.arange(len(x)), settings=np.zeros(len(x), dtype=int), ranked=ranked)


def test_correlations_by_hand_and_by_scipy(made_up):
    x, y = array(1, 2, 3, 4), array(2, 1, 4, 3)
    assert over_levels(x, y).value == pytest.approx(0.6)  # Sxy = 3, Sxx = Syy = 5
    assert over_levels(x, array(2, 1, 40, 3), ranked=True).value == pytest.approx(0.6)  # the same ranks
    x, y, _, _ = made_up
    for ranked, theirs in ((False, stats.pearsonr), (True, stats.spearmanr)):
        mine, expected = over_levels(x, y, ranked=ranked), theirs(x, y)  # x has ties
        assert (mine.value, mine.p) == (
            pytest.approx(expected.statistic, **SAME),
            pytest.approx(expected.pvalue, **SAME),
        )
    interval = stats.pearsonr(x, y).confidence_interval()
    assert (over_levels(x, y).low, over_levels(x, y).high) == pytest.approx(tuple(interval), **SAME)
    constant = over_levels(x, np.full_like(x, 0.1))
    assert math.isnan(constant.value) and math.isnan(constant.p)
    pair = over_levels(array(0, 1), array(1, 2))
    assert pair.value == pytest.approx(1) and math.isnan(pair.p)  # two points always lie on a line


@pytest.mark.parametrize("n", [3, 4, 5, 6])
def test_the_p_value_of_few_ranks_is_that_of_all_permutations(n):
    """Three cells in order have p = 2 / 3!, not the 1.3e-08 of Student's t at a coefficient of one."""
    rng = np.random.default_rng(n)
    assert over_levels(np.arange(n) / n, np.arange(n) * 2.0, ranked=True).p == pytest.approx(2 / math.factorial(n))
    x, y = rng.permutation(n).astype(float), rng.permutation(n).astype(float)
    theirs = stats.permutation_test(
        (x,), lambda a: stats.spearmanr(a, y).statistic, permutation_type="pairings", n_resamples=np.inf
    )
    assert over_levels(x, y, ranked=True).p == pytest.approx(theirs.pvalue)


def test_levels_not_cells_are_permuted():
    """Twenty cells on three levels are three units: one of three orders of the means is as extreme, p = 1 / 3."""
    levels = np.repeat([0, 1, 2], [7, 7, 6])
    y = levels + np.random.default_rng(0).normal(0, 0.1, 20)
    settings = np.zeros(20, dtype=int)
    found = correlation.over_levels(levels.astype(float), y, levels=levels, settings=settings, ranked=True)
    assert found.value > 0.9 and found.p == pytest.approx(1 / 3)


def test_signs_are_flipped_by_ladder():
    assert correlation.sign_flip_p(array(1, 1, 1)) == pytest.approx(2 / 8)
    assert correlation.sign_flip_p(array(0.5, 1, -0.1)) == pytest.approx(4 / 8)  # sums 1.4, 1.6 of (1.6, 1.4, 0.6, 0.4)
    values = np.random.default_rng(1).normal(0.4, 1, 9)
    theirs = stats.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    )
    assert correlation.sign_flip_p(values) == pytest.approx(theirs.pvalue)


def test_benjamini_hochberg_by_hand_and_by_statsmodels():
    # sorted 0.01, 0.02, 0.04 of three tests: 0.03, 0.03, 0.04; a missing one is no test
    assert false_discovery(array(0.04, np.nan, 0.01, 0.02)) == pytest.approx([0.04, np.nan, 0.03, 0.03], nan_ok=True)
    p_values = np.random.default_rng(0).uniform(size=40) ** 3
    assert false_discovery(p_values) == pytest.approx(multipletests(p_values, method="fdr_bh")[1], **SAME)
    assert np.isnan(false_discovery(array(np.nan, np.nan))).all()


def test_holm_by_hand_and_by_statsmodels():
    # sorted 0.01, 0.02, 0.04 of three tests: 3 x 0.01, 2 x 0.02, 0.04
    assert holm(array(0.04, np.nan, 0.01, 0.02)) == pytest.approx([0.04, np.nan, 0.03, 0.04], nan_ok=True)
    p_values = np.random.default_rng(0).uniform(size=40) ** 3
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1], **SAME)


@pytest.mark.parametrize(
    ("a", "b"), [((0.05, 0.02, 5), (0.02, 0.03, 19)), ((1.0, 0.5, 1), (0.0, 0.5, 3)), ((-2.0, 1.0, 12), (1.0, 0.2, 12))]
)
def test_a_difference_of_slopes_agrees_with_draws(a, b):
    found = difference(StudentT(*a), StudentT(*b))
    rng, draws = np.random.default_rng(0), 1_000_000
    drawn = (a[0] + a[1] * rng.standard_t(a[2], draws)) - (b[0] + b[1] * rng.standard_t(b[2], draws))
    assert found.probability == pytest.approx((drawn > 0).mean(), abs=0.002)  # four standard errors of a million draws
    inside = ((drawn > found.low) & (drawn < found.high)).mean()
    assert (found.mean, inside) == (pytest.approx(a[0] - b[0]), pytest.approx(0.95, abs=0.001))
    expected = math.sqrt(sum(scale**2 * nu / (nu - 2) for _, scale, nu in (a, b))) if min(a[2], b[2]) > 2 else math.nan
    assert found.sd == pytest.approx(expected, nan_ok=True)


def test_a_difference_of_normal_slopes_is_normal_and_of_certain_ones_certain():
    found = difference(StudentT(1, 3, 1e7), StudentT(0, 4, 1e7))
    assert (found.low, found.high) == (
        pytest.approx(1 - 1.959964 * 5, abs=1e-2),
        pytest.approx(1 + 1.959964 * 5, abs=1e-2),
    )
    assert found.probability == pytest.approx(stats.norm.cdf(0.2), abs=1e-4)
    certain = [difference(StudentT(value, 0, 3), StudentT(1, 0, 3)).probability for value in (2.0, 1.0, 0.0)]
    assert certain == [1, 0.5, 0]
    assert difference(StudentT(1, 0, 5), StudentT(0, 1, 5)).probability == pytest.approx(stats.t.cdf(1, 5), abs=1e-3)


def test_power_agrees_with_statsmodels_and_with_a_simulation():
    slope, per_ladder, ladders = 0.06, 0.05**2, 6
    ours = power(slope, ladders=ladders, per_ladder=per_ladder)
    assert ours == pytest.approx(ttest_power(slope / 0.05, ladders, 0.05), **SAME)
    slopes = slope + np.random.default_rng(0).normal(0, 0.05, (20_000, ladders))
    assert ours == pytest.approx((stats.ttest_1samp(slopes, 0, axis=1).pvalue < 0.05).mean(), abs=0.014)
    assert power(0.0, ladders=ladders, per_ladder=per_ladder) == pytest.approx(0.05)
    assert power(slope, ladders=ladders, per_ladder=per_ladder, items=0.01**2) < ours
    assert power(slope, ladders=1, per_ladder=per_ladder) == 0


def test_ladders_needed_is_the_first_count_with_enough_power():
    for slope, noise in ((0.005, 0.008), (0.02, 0.008), (0.06, 0.05), (0.01, 0.05)):
        needed = int(ladders_needed(slope, per_ladder=noise**2))
        assert power(slope, ladders=needed, per_ladder=noise**2) >= 0.8
        assert needed == 2 or power(slope, ladders=needed - 1, per_ladder=noise**2) < 0.8
        # the rule of thumb: (1.96 + 0.84)^2 noise^2 / slope^2, and a few more for the t distribution
        assert 0 <= needed - (2.8016 * noise / slope) ** 2 <= 3
    assert ladders_needed(1e-6, per_ladder=1.0) == math.inf
    assert ladders_needed(0.01, per_ladder=1e-9, items=0.01**2) == math.inf  # the choice of items alone hides it
    assert math.isnan(ladders_needed(0.1, per_ladder=math.nan))
    assert ladders_needed(0.1, per_ladder=0.0) == 2


def test_the_variance_of_a_slope_scales_with_levels_and_runs():
    noise, seven, three = SlopeNoise(of_ladders=0.4, of_runs=0.6, of_items=0.0), np.linspace(0, 1, 7), array(0, 0.5, 1)
    assert noise.per_ladder(levels=three, runs=1) == pytest.approx(1.0 / 0.5)  # Sxx of 0, 1/2, 1 is 1/2
    assert noise.per_ladder(levels=seven, runs=3) == pytest.approx((0.4 + 0.2) / (7 / 9))


def test_nested_variance_components_by_hand():
    """Two ladders of two draws of two trainings, at one level: the textbook's mean squares.

    Ladder means 3 and 7, draw means 2, 4, 6, 8, cells +-1: mean squares 32, 4 and 2, so training 2,
    draw (4 - 2) / 2 = 1, ladder (32 - 4) / 4 = 7."""
    y = array(1, 3, 3, 5, 5, 7, 7, 9)
    partitions = [np.arange(8) // size for size in (8, 4, 2, 1)]
    variances, degrees = estimate_components([(y, partitions)])
    assert (list(variances), list(degrees)) == (pytest.approx([7, 1, 2]), [1, 2, 4])


def test_variance_components_of_unbalanced_series_are_unbiased_and_agree_with_statsmodels():
    rng, true = np.random.default_rng(5), array(0.5, 0.3, 0.1) ** 2
    ladder, draw = np.repeat(np.arange(6), [4, 6, 3, 5, 6, 4]), np.arange(28) // 2
    draw = np.unique(np.column_stack([ladder, draw]), axis=0, return_inverse=True)[1]
    partitions = [np.zeros(28, dtype=int), ladder, draw, np.arange(28)]
    found = []
    for _ in range(1500):
        y = rng.normal(0, 0.5, 6)[ladder] + rng.normal(0, 0.3, draw.max() + 1)[draw] + rng.normal(0, 0.1, 28)
        found.append(estimate_components([(y, partitions), (y, partitions)])[0])
    assert np.mean(found, axis=0) == pytest.approx(true, rel=0.08)  # a little above: cut at zero
    frame = pd.DataFrame({"y": y, "ladder": ladder, "draw": draw})
    table = sm.stats.anova_lm(sm.OLS.from_formula("y ~ C(draw)", frame).fit(), typ=1)
    assert found[-1][2] == pytest.approx(table.loc["Residual", "mean_sq"])


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        (
            {"seed.ladder": [0, 0, 1, 1], "seed.draw": [0, 1, 0, 1], "seed.train": [0, 1, 0, 1]},
            ("ladder", "draw + training"),
        ),
        (
            {"seed.ladder": [0, 1, 2, 3], "seed.draw": [0, 1, 2, 3], "seed.train": [0, 1, 2, 3]},
            ("ladder + draw + training",),
        ),
        ({"seed.ladder": [5, 5, 5, 5], "seed.draw": [0, 0, 1, 1], "seed.train": [0, 1, 2, 3]}, ("draw", "training")),
        ({"seed": [0, 1, 2, 3]}, ("draw + training",)),
        ({"seed": [0, 0, 0, 0]}, ()),
    ],
)
def test_factors_that_change_together_are_one_component(columns, names):
    cells = pd.DataFrame({"level": 0.5, "seed": 0} | columns)
    found, partitions = nested_partitions(cells)
    assert found == names and len(partitions) == len(names) + 1


def test_jaccard_by_hand_and_by_scikit_learn():
    texts = ["abcd", "cdef", "xy"]
    found = jaccard([pa.chunked_array([pa.array(list(text))]) for text in texts])
    assert found == pytest.approx(array(1, 1 / 3, 0, 1 / 3, 1, 0, 0, 0, 1).reshape(3, 3))
    holds = [[letter in text for letter in "abcdefxy"] for text in texts]
    assert found == pytest.approx(np.array([[jaccard_score(one, other) for other in holds] for one in holds]))


def test_overlap_by_level_is_the_mean_over_pairs_of_different_subsets():
    similarity = array(1, 0.5, 0.2, 0.5, 1, 0.4, 0.2, 0.4, 1).reshape(3, 3)
    table = by_level(similarity, array(0, 0, 1))
    assert table.to_numpy() == pytest.approx(array(0.5, 0.3, 0.3, np.nan).reshape(2, 2), nan_ok=True)
    assert list(table.index) == list(table.columns) == [0, 1]
