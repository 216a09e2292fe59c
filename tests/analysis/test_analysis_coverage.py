"""Simulated sweeps with a known slope and known noise: intervals hold the truth as often as they say.

A share p seen in ``SWEEPS`` independent sweeps has the standard error sqrt(p (1 - p) / SWEEPS);
every tolerance is four of them (``within``), which a right interval misses once in 16,000 tries.
All generators are seeded, so that a test that passes keeps passing.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from sftdiv.analysis import correlation
from sftdiv.analysis.intercept import fit_random_intercept
from sftdiv.analysis.regression import ONE_SIGMA, difference, fit_line

SWEEPS = 2000
SLOPE, NOISE = 0.05, 0.02


def within(share, sweeps=SWEEPS):
    return pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / sweeps))


def sweep(rng, *, levels=7, seeds=3, slope=SLOPE, noise=NOISE, seed_noise=0.0):
    """Level, performance and seed of each cell."""
    x, seed = np.tile(np.linspace(0, 1, levels), seeds), np.repeat(np.arange(seeds), levels)
    return x, 0.3 + slope * x + rng.normal(0, seed_noise, seeds)[seed] + rng.normal(0, noise, len(x)), seed


def holds(interval, truth):
    low, high = interval
    return low <= truth <= high


@pytest.mark.parametrize(("levels", "seeds"), [(7, 3), (7, 1), (3, 1)])
def test_intervals_of_the_slope_cover_it_at_the_nominal_rate(levels, seeds):
    rng = np.random.default_rng(0)
    posteriors = [fit_line(*sweep(rng, levels=levels, seeds=seeds)[:2]).slope for _ in range(SWEEPS)]
    for share in (ONE_SIGMA, 0.95):
        assert np.mean([holds(slope.interval(share), SLOPE) for slope in posteriors]) == within(share)
    degrees = levels * seeds - 2
    if (
        degrees > 2
    ):  # mean +- sd of a Student t holds a little more than 68 % with few cells: what it should hold, exactly
        share = 1 - 2 * stats.t.sf(math.sqrt(degrees / (degrees - 2)), degrees)
        assert np.mean([abs(slope.center - SLOPE) <= slope.sd for slope in posteriors]) == within(share)


def test_the_band_covers_the_line_at_the_nominal_rate():
    rng, at = np.random.default_rng(1), np.array([0.0, 0.4, 1.0])
    inside = []
    for _ in range(SWEEPS):
        _, low, high = fit_line(*sweep(rng)[:2]).band(at)
        truth = 0.3 + SLOPE * at
        inside.append((low <= truth) & (truth <= high))
    for share in np.mean(inside, axis=0):
        assert share == within(ONE_SIGMA)


def test_the_slope_given_a_covariate_covers_it_at_the_nominal_rate():
    """Length rises with the level and moves performance too: the plain slope misses what the controlled one holds."""
    rng = np.random.default_rng(2)
    controlled, plain = [], []
    for _ in range(SWEEPS):
        x, y, _ = sweep(rng)
        length = 20 + 10 * x + rng.normal(0, 4, len(x))
        y = y + 0.004 * length
        controlled.append(holds(fit_line(x, y, length).slope.interval(), SLOPE))
        plain.append(holds(fit_line(x, y).slope.interval(), SLOPE))
    assert np.mean(controlled) == within(0.95)
    assert np.mean(plain) < 0.5  # its truth is 0.05 + 0.04


def test_the_interval_of_a_difference_covers_it_at_least_at_the_nominal_rate():
    """With this prior the Behrens-Fisher posterior is a little wide where cells are few; at equal noise it
    holds 95 to 97 %."""
    rng = np.random.default_rng(3)
    beyond = []
    for _ in range(SWEEPS):
        a, b = (fit_line(*sweep(rng, seeds=1, slope=slope)[:2]).slope for slope in (0.08, 0.05))
        shifted = replace(a, center=a.center - 0.03)  # the truth lies in the central 95 % where this is no tail
        beyond.append(difference(shifted, b).probability)
    inside = np.mean([0.025 < one < 0.975 for one in beyond])
    assert 0.95 - 4 * math.sqrt(0.95 * 0.05 / SWEEPS) <= inside <= 0.985
    assert np.mean(beyond) == pytest.approx(0.5, abs=4 * 0.3 / math.sqrt(SWEEPS))


def test_with_seed_effects_the_random_intercept_covers_and_the_plain_slope_is_wide():
    """In a balanced sweep seeds shift all levels alike: the slope's noise is that of cells, with 21 - 3 - 1
    degrees of freedom."""
    rng = np.random.default_rng(4)
    mixed, plain, reach = [], [], stats.t.ppf(0.975, 17)
    for _ in range(SWEEPS):
        x, y, seed = sweep(rng, seed_noise=0.03)
        found = fit_random_intercept(x, y, seed)
        mixed.append(abs(found.slope - SLOPE) <= reach * found.slope_sd)
        plain.append(holds(fit_line(x, y).slope.interval(), SLOPE))
    assert np.mean(mixed) == within(0.95)
    assert np.mean(plain) > 0.97


@pytest.mark.parametrize(
    ("seeds", "seed_noise", "least", "most"),
    [
        (3, 0.0, 0.90, 0.99),  # 93 to 94 % seen: seeds that do nothing are resampled too
        (6, 0.03, 0.93, 1.00),  # 98 %: resampling seeds and then cells counts the cells' noise twice
        (1, 0.0, 0.80, 0.95),  # 87 %: percentiles of seven cells are narrow, and no seed says how narrow
    ],
)
def test_bootstrap_intervals_of_a_correlation_cover_it_roughly(seeds, seed_noise, least, most):
    """Percentile intervals have no exact coverage in small samples; the bounds are what 400 sweeps of 600
    resamples show, +- 4 %."""
    rng = np.random.default_rng(5)

    def sample():
        return sweep(rng, seeds=seeds, slope=0.08, noise=0.04, seed_noise=seed_noise)

    truth = np.mean([correlation.pearson(x, y, None).value for x, y, _ in (sample() for _ in range(SWEEPS))])
    inside = []
    for _ in range(400):
        x, y, seed = sample()
        found = correlation.pearson(x, y, correlation.resample(seed, rng=rng, resamples=600))
        inside.append(holds((found.low, found.high), truth))
    assert least <= np.mean(inside) <= most


def test_false_discoveries_stay_under_the_rate():
    """Twelve tests (six metrics, two sides) of which four are real: of what is found at q < 0.1, at most a
    tenth is false on average."""
    rng = np.random.default_rng(6)
    shares = []
    for _ in range(SWEEPS // 2):
        z = rng.normal(0, 1, 12) + np.repeat([3.0, 0.0], [4, 8])
        found = correlation.false_discovery(2 * stats.norm.sf(np.abs(z))) < 0.1
        shares.append(found[4:].sum() / max(1, found.sum()))
    assert np.mean(shares) < 0.1 * 8 / 12 + 0.01  # Benjamini and Hochberg's bound is q times the share of true nulls
    assert np.mean(shares) > 0.04
