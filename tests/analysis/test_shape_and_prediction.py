"""Lack of fit, level 1 against random draws, prediction of left-out series and common axes, by hand and by others."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats
from simulated_sweeps import SITUATIONS, simulate, sweep_design
from statsmodels.stats.anova import AnovaRM, anova_lm
from synthetic_study import synthetic_row, write_cell, write_synthetic_study

from sftdiv.analysis.against_random import random_table
from sftdiv.analysis.prediction import axis_table, equivalent_table, prediction_table
from sftdiv.analysis.shape import lack_of_fit_over_ladders, shape_table
from sftdiv.analysis.study import load_study
from sftdiv.storage.cell import RESULT

ONE = {("micro_token", "response"): 0.08}


def study(folder, **settings):
    return load_study(write_synthetic_study(folder, **({"matches": ("none",), "slopes": ONE} | settings))).cells


def test_lack_of_fit_of_one_ladder_is_the_classical_test(tmp_path):
    cells = study(tmp_path / "one")
    (row,) = shape_table(cells).to_dict("records")
    frame = cells[cells["kind"] == "level"][["level", "performance"]]
    line = sm.OLS.from_formula("performance ~ level", frame).fit()
    test = anova_lm(line, sm.OLS.from_formula("performance ~ C(level)", frame).fit()).iloc[1]
    assert (row["lack_of_fit_f"], row["lack_of_fit_p"]) == pytest.approx((test["F"], test["Pr(>F)"]))
    means = frame.groupby("level")["performance"].mean()
    assert row["first_half"] == pytest.approx(means[0.5] - means[0.0]) and np.isnan(row["first_half_low"])


def test_shape_over_ladders_is_that_of_within_ladder_contrasts(tmp_path):
    cells = study(tmp_path / "six", seeds=range(6), replicated=True)
    (row,) = shape_table(cells).to_dict("records")
    profiles = cells[cells["kind"] == "level"].pivot_table(index="replicate", columns="level", values="performance")
    halves = stats.ttest_1samp(profiles[0.5] - profiles[0.0], 0)
    assert (row["first_half_low"], row["first_half_high"]) == pytest.approx(tuple(halves.confidence_interval()))
    curvature = [np.polyfit(profiles.columns, profile, 2)[0] for profile in profiles.to_numpy()]
    assert (row["quadratic"], row["quadratic_p"]) == pytest.approx(
        (np.mean(curvature), stats.ttest_1samp(curvature, 0).pvalue)
    )


def test_with_three_levels_lack_of_fit_over_ladders_is_the_t_test_of_the_middle():
    profiles = np.random.default_rng(0).normal(size=(5, 3))
    f, p = lack_of_fit_over_ladders(profiles, np.array([0.0, 0.5, 1.0]))
    theirs = stats.ttest_1samp(profiles @ [0.5, -1.0, 0.5], 0)
    assert (f, p) == pytest.approx((theirs.statistic**2, theirs.pvalue))


def test_the_f_over_ladders_is_that_of_repeated_measures():
    """On deviations from each ladder's own line the level effect of a repeated-measures ANOVA has the same ratio of
    sums of squares."""
    levels, profiles = np.linspace(0, 1, 5), np.random.default_rng(1).normal(size=(6, 5))
    design = np.column_stack([np.ones(5), levels])
    rest = profiles - profiles @ design @ np.linalg.pinv(design)
    frame = pd.DataFrame({"y": rest.ravel(), "ladder": np.repeat(np.arange(6), 5), "level": np.tile(np.arange(5), 6)})
    theirs = AnovaRM(frame, "y", "ladder", within=["level"]).fit().anova_table.loc["level", "F Value"]
    assert lack_of_fit_over_ladders(profiles, levels)[0] == pytest.approx(theirs)


@pytest.mark.parametrize(
    "situation", ["iid", "level effects, twice", "accumulating along nested pools", "heteroscedastic"]
)
def test_a_straight_line_seldom_lacks_fit(situation):
    """At most 8 % of straight lines at a level of 5 %, with 3 and with 6 ladders, and a saturating curve is found."""
    for ladders in (3, 6):
        design, rng = sweep_design(ladders=ladders, seeds=1), np.random.default_rng(2)
        runs = simulate(SITUATIONS[situation], design, slope=0.05, sweeps=1500, rng=rng)
        ps = [lack_of_fit_over_ladders(run.reshape(ladders, 7), design.levels[:7])[1] for run in runs]
        assert np.mean(np.array(ps) < 0.05) <= 0.08
    curved = simulate(SITUATIONS["saturation, level effects equal"], design, slope=0.2, sweeps=100, rng=rng)
    ps = [lack_of_fit_over_ladders(run.reshape(6, 7), design.levels[:7])[1] for run in curved]
    assert np.mean(np.array(ps) < 0.05) > 0.9


def test_level_1_is_compared_with_random_draws_of_its_own_universe_run_by_run(tmp_path):
    cells = study(tmp_path / "random", slopes={**ONE, ("meso_tag", "response"): 0.03})
    table = random_table(cells).set_index("ladder")
    assert len(table) == 2
    of_micro = cells[(cells["universe_of"] == "micro_token") & (cells["side"] == "response")]
    top = of_micro[(of_micro["kind"] == "level") & (of_micro["level"] == 1)].set_index("seed")["performance"]
    drawn = of_micro[of_micro["kind"] == "random"].set_index("seed")["performance"]
    theirs = stats.ttest_rel(top, drawn)
    row = table.loc["micro_token · response · 2,000 · tiny · unmatched"]
    assert (row["difference"], row["p"]) == pytest.approx((np.mean(top - drawn), theirs.pvalue))
    assert (row["low"], row["high"]) == pytest.approx(tuple(theirs.confidence_interval()))
    assert row["runs"] == 3 and row["status"] == ""
    assert row["p_holm"] == pytest.approx(min(2 * row["p"], 1)) or row["p_holm"] >= row["p"]


def test_runs_without_a_partner_are_compared_by_welch(tmp_path):
    folder = write_synthetic_study(tmp_path / "welch", slopes=ONE, matches=("none",), baselines=False)
    for seed, value in ((7, 0.29), (8, 0.31), (9, 0.30), (10, 0.33)):
        row = synthetic_row("welch", "random", "response", 1.0, seed, value, universe_of="micro_token")
        write_cell(folder, row | {"kind": "random"})
    cells = load_study(folder).cells
    (row,) = random_table(cells).to_dict("records")
    top = cells[(cells["kind"] == "level") & (cells["level"] == 1)]["performance"]
    theirs = stats.ttest_ind(top, [0.29, 0.31, 0.30, 0.33], equal_var=False)
    assert (row["p"], row["degrees"]) == pytest.approx((theirs.pvalue, theirs.df))


def test_prediction_of_a_left_out_series_by_hand():
    """Three series with slopes 1, 1 and -1 on a metric at deviations -1, 0, 1: the others predict 0, 0 and 1 for
    them, so squared errors are 2, 2 and 8 of squared deviations 2, 2 and 2."""
    rows = [
        {"kind": "level", "ladder": label, "level": at / 2 + 0.5, "performance": 5 + slope * at + shift}
        | {"diversity.response.entropy": 10 + at + shift, "primary": "a", "eval_hash": "b", "corpus_hash": "c"}
        for label, slope, shift in (("x", 1, 0), ("y", 1, 3), ("z", -1, 7))
        for at in (-1, 0, 1)
    ]
    table = prediction_table(pd.DataFrame(rows), first=["entropy"], details=()).set_index("predictor")
    assert list(table.index) == ["level", "diversity.response.entropy"]
    assert table["r2_out"].tolist() == pytest.approx([1 - 12 / 6] * 2)
    assert table["r2_in"].tolist() == pytest.approx([1 / 9] * 2)  # products 2 + 2 - 2, squares 6: 4 / 6 / 6


def test_a_common_axis_explains_strategies_whose_levels_differ(tmp_path):
    """Performance is a line of the axis, on which micro reaches twice as far as meso: one line there, not by level."""
    folder = write_synthetic_study(
        tmp_path / "axis",
        slopes={("micro_token", "response"): 0.08, ("meso_tag", "response"): 0.04},
        matches=("none",),
        noise=0.001,
        seed_noise=0.0,
    )
    for path in folder.glob(f"*/{RESULT}"):
        row = json.loads(path.read_text(encoding="utf-8"))
        if row["kind"] == "level":
            reach = 2.0 if row["strategy"] == "micro_token" else 1.0
            path.write_text(json.dumps(row | {"axis.vendi": 10 + reach * row["level"]}), encoding="utf-8")
    cells = load_study(folder).cells
    (row,) = axis_table(cells).to_dict("records")
    assert (row["axis"], row["slope"]) == ("axis.vendi", pytest.approx(0.04, abs=0.002))
    assert row["r2"] > 0.99 > row["r2_level"]
    table = equivalent_table(cells)
    assert set(table["reference"]) == {"meso_tag · response · 2,000 · tiny · unmatched"}
    found = table.set_index("level")["equivalent_level"]
    assert found[0.5] == pytest.approx(1.0) and np.isnan(found[1.0])  # twice as far: beyond the reference's range
    assert prediction_table(cells, first=(), details=()).empty  # two series: none can be left out
