"""The arithmetic of the analysis against values worked out by hand, and against scipy, statsmodels and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import statsmodels.api as sm
from scipy import integrate, stats
from sklearn.linear_model import LinearRegression
from sklearn.metrics import jaccard_score
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import ttest_power

from sftdiv.analysis import correlation
from sftdiv.analysis.intercept import fit_random_intercept
from sftdiv.analysis.notes import Notes
from sftdiv.analysis.overlap import by_level, jaccard
from sftdiv.analysis.power import power, seeds_needed
from sftdiv.analysis.regression import ONE_SIGMA, StudentT, difference, explained, fit_line
from sftdiv.analysis.summaries import noise_table, power_table

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


def test_a_line_by_hand():
    # y at x = 0, 1, 2, 3: slope = Sxy / Sxx = 8 / 5, intercept 3 - 1.6 * 1.5, residuals 0.4, -0.2, -0.8,
    # 0.6, RSS = 1.2, 2 degrees left
    fit = fit_line(array(0, 1, 2, 3), array(1, 2, 3, 6))
    assert fit.coefficients == pytest.approx([0.6, 1.6])
    assert fit.residual_sd**2 == pytest.approx(1.2 / 2)
    assert (fit.slope.scale, fit.slope.degrees) == (pytest.approx(math.sqrt(0.6 / 5)), 2)
    assert math.isnan(fit.slope.sd)  # Student t with two degrees of freedom has no variance
    assert fit.slope.interval() == pytest.approx(
        (1.6 - 4.302652730 * math.sqrt(0.12), 1.6 + 4.302652730 * math.sqrt(0.12))
    )
    assert fit.sigma == pytest.approx(
        math.sqrt(0.6) * math.sqrt(math.pi)
    )  # nu = 2: sqrt(1) Gamma(1/2) / Gamma(1) = sqrt(pi)


def test_the_posterior_is_the_prior_times_the_likelihood():
    """Integrate p(b, sigma) ~ 1 / sigma (that is 1 / sigma^2 in sigma^2) times the likelihood on a grid: no
    formula of the posterior."""
    x, y = array(0, 0.2, 0.4, 0.6, 0.8, 1.0), array(0.1, 0.3, 0.2, 0.5, 0.35, 0.6)
    fit = fit_line(x, y)
    slopes = np.linspace(fit.slope.center - 3.5, fit.slope.center + 3.5, 1501)
    sigmas = np.exp(np.linspace(math.log(1e-2), math.log(8), 900))
    centred = x - x.mean()
    squares = (
        ((y - y.mean())[None, :] - slopes[:, None] * centred).__pow__(2).sum(axis=1)
    )  # the intercept integrates to sigma / sqrt(n)
    log_density = -(len(x) - 1 + 1) * np.log(sigmas)[None, :] - squares[:, None] / (2 * sigmas**2)
    density = np.exp(log_density - log_density.max())
    whole = integrate.trapezoid(integrate.trapezoid(density, sigmas, axis=1), slopes)
    by_slope = integrate.trapezoid(density, sigmas, axis=1) / whole
    mean = integrate.trapezoid(by_slope * slopes, slopes)
    sd = math.sqrt(integrate.trapezoid(by_slope * (slopes - mean) ** 2, slopes))
    sigma = integrate.trapezoid(integrate.trapezoid(density * sigmas, sigmas, axis=1), slopes) / whole
    assert (fit.slope.center, fit.slope.sd, fit.sigma) == (
        pytest.approx(mean, rel=1e-4),
        pytest.approx(sd, rel=5e-3),
        pytest.approx(sigma, rel=5e-3),
    )


def test_a_line_agrees_with_scipy_statsmodels_and_scikit_learn(made_up):
    x, y, covariate, _ = made_up
    line, theirs = fit_line(x, y), stats.linregress(x, y)
    assert (line.slope.center, line.slope.scale) == (
        pytest.approx(theirs.slope, **SAME),
        pytest.approx(theirs.stderr, **SAME),
    )
    assert line.coefficients[0] == pytest.approx(theirs.intercept, **SAME)
    for ours, design in ((line, [x]), (fit_line(x, y, covariate), [x, covariate])):
        result = sm.OLS(y, sm.add_constant(np.column_stack(design))).fit()
        assert ours.coefficients == pytest.approx(result.params, **SAME)
        assert ours.slope.scale == pytest.approx(result.bse[1], **SAME)
        assert ours.slope.interval() == pytest.approx(tuple(result.conf_int(0.05)[1]), **SAME)
        assert ours.residual_sd**2 * ours.unscaled == pytest.approx(result.cov_params(), **SAME)
        assert ours.coefficients[1:] == pytest.approx(LinearRegression().fit(np.column_stack(design), y).coef_, **SAME)
    at = np.linspace(-0.5, 2, 9)
    band = sm.OLS(y, sm.add_constant(x)).fit().get_prediction(sm.add_constant(at)).summary_frame(alpha=1 - ONE_SIGMA)
    for ours, column in zip(line.band(at), ("mean", "mean_ci_lower", "mean_ci_upper"), strict=True):
        assert ours == pytest.approx(band[column].to_numpy(), **SAME)


def test_there_is_no_line_without_spread_or_degrees_of_freedom():
    y = array(1, 2, 4, 3)
    assert fit_line(array(0, 1), array(1, 2)) is None
    assert fit_line(array(0.1, 0.1, 0.1, 0.1), y) is None
    assert (
        fit_line(array(0, 1, 2, 3), y, 0.3 + 7 * array(0, 1, 2, 3)) is None
    )  # the covariate follows from the predictor
    assert fit_line(array(0, 1, 2), array(1, 2, 4), array(3, 1, 2)) is None
    assert fit_line(1e6 + array(0, 1, 2, 3), y).slope.center == pytest.approx(
        0.8
    )  # far from zero there is spread all the same


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


def test_correlations_by_hand_and_by_scipy(made_up):
    x, y = array(1, 2, 3, 4), array(2, 1, 4, 3)
    assert correlation.pearson(x, y, None).value == pytest.approx(0.6)  # Sxy = 3, Sxx = Syy = 5
    assert correlation.spearman(x, array(2, 1, 40, 3), None).value == pytest.approx(0.6)  # the same ranks
    x, y, _, _ = made_up
    for ours, theirs in ((correlation.pearson, stats.pearsonr), (correlation.spearman, stats.spearmanr)):
        mine, expected = ours(x, y, None), theirs(x, y)  # x has ties
        assert (mine.value, mine.p) == (
            pytest.approx(expected.statistic, **SAME),
            pytest.approx(expected.pvalue, **SAME),
        )
    constant = correlation.pearson(x, np.full_like(x, 0.1), None)
    assert math.isnan(constant.value) and math.isnan(constant.p)


def test_a_bootstrap_sample_takes_whole_seeds_and_then_cells_within_them():
    seeds = np.repeat([10, 20, 30], 4)
    samples = correlation.resample(seeds, rng=np.random.default_rng(0), resamples=500)
    drawn = seeds[samples].reshape(500, 3, 4)
    assert (drawn == drawn[:, :, :1]).all()  # each slot of four cells is of one seed
    assert {len(np.unique(one)) for one in drawn} == {1, 2, 3}  # a seed may come twice or not at all
    one_seed = correlation.resample(np.zeros(6, dtype=int), rng=np.random.default_rng(0), resamples=500)
    assert {len(np.unique(one)) for one in one_seed} <= {1, 2, 3, 4, 5, 6}
    assert np.bincount(one_seed.ravel(), minlength=6) == pytest.approx(500, rel=0.2)
    unequal = correlation.resample(np.repeat([0, 1], [5, 2]), rng=np.random.default_rng(0), resamples=50)
    assert unequal.shape == (50, 7) and set(np.unique(unequal)) == set(range(7))


def test_the_bootstrap_interval_of_one_seed_is_scipys(made_up):
    x, y, _, _ = made_up
    samples = correlation.resample(np.zeros(len(x), dtype=int), rng=np.random.default_rng(0), resamples=9999)

    def pearson(a, b, axis):
        return stats.pearsonr(a, b, axis=axis).statistic

    def spearman(a, b, axis):
        return stats.pearsonr(stats.rankdata(a, axis=axis), stats.rankdata(b, axis=axis), axis=axis).statistic

    for ours, statistic in ((correlation.pearson, pearson), (correlation.spearman, spearman)):
        mine = ours(x, y, samples)
        theirs = stats.bootstrap(
            (x, y), statistic, paired=True, n_resamples=9999, method="percentile", rng=np.random.default_rng(1)
        )
        # two Monte-Carlo quantiles: each has a standard error near 0.005 here, so 0.02 is three of their difference
        assert (mine.low, mine.high) == pytest.approx(tuple(theirs.confidence_interval), abs=0.02)


def test_ranks_of_resamples_are_counted_right():
    values, rng = array(3, 1, 1, 2, 9, 9, 9), np.random.default_rng(0)
    samples = rng.integers(0, 7, size=(50, 7))
    assert (correlation.resampled_ranks(values, samples) == stats.rankdata(values[samples], axis=1)).all()


def test_few_cells_have_a_correlation_but_no_interval():
    samples = correlation.resample(np.zeros(4, dtype=int), rng=np.random.default_rng(0), resamples=100)
    found = correlation.pearson(array(0, 1, 2, 3), array(1, 2, 2, 5), samples)
    assert found.value == pytest.approx(stats.pearsonr([0, 1, 2, 3], [1, 2, 2, 5]).statistic) and math.isnan(found.low)
    pair = correlation.pearson(array(0, 1), array(1, 2), None)
    assert pair.value == pytest.approx(1) and math.isnan(pair.p)  # two points always lie on a line


def test_benjamini_hochberg_by_hand_and_by_statsmodels():
    # sorted 0.01, 0.02, 0.04 of three tests: 0.03, 0.03, 0.04; a missing one is no test
    assert correlation.false_discovery(array(0.04, np.nan, 0.01, 0.02)) == pytest.approx(
        [0.04, np.nan, 0.03, 0.03], nan_ok=True
    )
    p_values = np.random.default_rng(0).uniform(size=40) ** 3
    assert correlation.false_discovery(p_values) == pytest.approx(multipletests(p_values, method="fdr_bh")[1], **SAME)
    assert np.isnan(correlation.false_discovery(array(np.nan, np.nan))).all()


def test_the_random_intercept_is_statsmodels_least_squares_at_its_variances(made_up):
    x, y, _, seeds = made_up
    ours = fit_random_intercept(x, y, seeds)
    covariance = ours.cell_variance * np.eye(len(x)) + ours.seed_variance * (seeds[:, None] == seeds[None, :])
    theirs = sm.GLS(y, sm.add_constant(x), sigma=covariance).fit(cov_type="fixed scale")
    assert ours.seed_variance > 0
    assert (ours.slope, ours.slope_sd) == (
        pytest.approx(theirs.params[1], **SAME),
        pytest.approx(theirs.bse[1], **SAME),
    )


def test_the_variances_of_balanced_data_are_those_of_the_analysis_of_variance():
    rng = np.random.default_rng(3)
    seeds, x = np.repeat(np.arange(4), 5), np.tile(np.linspace(0, 1, 5), 4)
    y = 0.2 * x + rng.normal(0, 0.3, 4)[seeds] + rng.normal(0, 0.1, 20)
    ours = fit_random_intercept(x, y, seeds)
    dummies = sm.OLS(y, np.column_stack([x, *(seeds == seed for seed in range(4))]).astype(float)).fit()
    means = np.array([y[seeds == seed].mean() for seed in range(4)])
    assert ours.cell_variance == pytest.approx(dummies.mse_resid, **SAME)
    assert ours.seed_variance == pytest.approx(
        means.var(ddof=1) - dummies.mse_resid / 5, **SAME
    )  # E[mean square] = sigma_u^2 + sigma_e^2 / 5
    assert ours.slope == pytest.approx(fit_line(x, y).slope.center, **SAME)  # every seed has the same levels
    assert ours.slope_sd < fit_line(x, y).slope.scale  # what seeds shift is not the slope's noise
    assert ours.seed_share == pytest.approx(ours.seed_variance / (ours.seed_variance + ours.cell_variance))


def test_the_random_intercepts_variances_are_right_on_average():
    """Unbalanced seeds, one of two: the estimate is unbiased where it need not be cut at zero (seed
    variance far larger than its error)."""
    rng = np.random.default_rng(11)
    seeds, x = np.repeat([0, 1, 2, 3, 4, 5], [7, 7, 3, 5, 2, 6]), rng.uniform(size=30)
    fits = [
        fit_random_intercept(x, 0.5 * x + rng.normal(0, 0.3, 6)[seeds] + rng.normal(0, 0.1, 30), seeds)
        for _ in range(2000)
    ]
    # the seed variance of six seeds scatters by sqrt(2 / 5) of itself: 0.014 of its mean over 2000; five of these
    assert np.mean([fit.seed_variance for fit in fits]) == pytest.approx(0.09, rel=0.07)
    assert np.mean([fit.cell_variance for fit in fits]) == pytest.approx(0.01, rel=0.03)
    assert np.std([fit.slope for fit in fits]) == pytest.approx(np.mean([fit.slope_sd for fit in fits]), rel=0.07)


def test_no_random_intercept_without_seeds_or_cells_within_them():
    x, y = np.linspace(0, 1, 4), array(0, 1, 2, 4)
    assert fit_random_intercept(x, y, np.zeros(4, dtype=int)) is None
    assert fit_random_intercept(x, y, np.arange(4)) is None
    assert fit_random_intercept(array(0, 0, 1, 1), y, array(0, 0, 1, 1).astype(int)) is None  # each seed has one level
    exact = fit_random_intercept(np.tile(array(0, 1, 2), 2), array(0, 2, 4, 1, 3, 5), np.repeat([0, 1], 3))
    assert (exact.slope, exact.slope_sd, exact.seed_share) == (pytest.approx(2), 0, 1)


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
    levels, noise, slope, seeds = np.linspace(0, 1, 7), 0.05, 0.06, 3
    x = np.tile(levels, seeds)
    spread = ((x - x.mean()) ** 2).sum()
    ours = power(slope, levels=levels, seeds=seeds, noise=noise)
    assert ours == pytest.approx(ttest_power(slope / noise, spread, 0.05, df=len(x) - 2), **SAME)
    rng = np.random.default_rng(0)
    y, centred = slope * x + rng.normal(0, noise, (20_000, len(x))), x - x.mean()
    slopes = y @ centred / spread
    residuals = y - y.mean(axis=1, keepdims=True) - slopes[:, None] * centred
    statistics = slopes / np.sqrt((residuals**2).sum(axis=1) / (len(x) - 2) / spread)
    rejected = (np.abs(statistics) > stats.t.ppf(0.975, len(x) - 2)).mean()
    assert ours == pytest.approx(rejected, abs=0.014)  # four standard errors of 20,000 trials
    assert power(0.0, levels=levels, seeds=seeds, noise=noise) == pytest.approx(0.05)


def test_seeds_needed_is_the_first_count_with_enough_power():
    levels = np.linspace(0, 1, 7)
    for slope, noise in ((0.005, 0.008), (0.02, 0.008), (0.06, 0.05), (0.01, 0.05)):
        needed = int(seeds_needed(slope, levels=levels, noise=noise))
        assert power(slope, levels=levels, seeds=needed, noise=noise) >= 0.8
        assert needed == 1 or power(slope, levels=levels, seeds=needed - 1, noise=noise) < 0.8
        # the rule of thumb: (1.96 + 0.84)^2 noise^2 / (slope^2 Sxx), and a seed or two more for the t distribution
        assert 0 <= needed - (2.8016 * noise / slope) ** 2 / (7 / 9) <= 2
    assert seeds_needed(1e-6, levels=levels, noise=1.0) == math.inf
    assert math.isnan(seeds_needed(0.1, levels=levels, noise=math.nan))
    assert seeds_needed(0.1, levels=levels, noise=0.0) == 1


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


@pytest.mark.parametrize(("performance", "noted"), [([math.nan] * 4, False), ([0.1, 0.2, 0.4, 0.3], True)])
def test_one_seed_is_noted_only_where_there_are_scores(performance, noted):
    cells = pd.DataFrame(
        {
            "kind": "level",
            "ladder": "a ladder",
            "primary": "loss",
            "level": [0.0, 0.25, 0.5, 1.0],
            "performance": performance,
        }
    )
    notes = Notes()
    power_table(cells, noise_table(cells), slopes=[0.1], notes=notes)
    assert bool(notes.sentences()) == noted
