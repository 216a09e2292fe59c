"""Selectors against random draws, by hand: three selectors, three replicates, unmatched and length-matched."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from selector_study import write_selector_study
from synthetic_study import synthetic_row, write_cell

from sftdiv.analysis.selector_length import length_r2, length_table
from sftdiv.analysis.selectors import competitors, selector_overlap, selector_table
from sftdiv.analysis.study import load_study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return load_study(write_selector_study(tmp_path_factory.mktemp("studies") / "made_up"))


def of(table, selector, **where):
    chosen = table["selector"] == selector
    for name, value in where.items():
        chosen &= table[name] == value
    assert chosen.sum() == 1
    return table[chosen].iloc[0]


def test_a_selector_is_paired_with_the_mean_draw_of_each_replicate(study):
    row = of(selector_table(study.cells), "longest", match="none")
    gains = np.array([0.20, 0.21, 0.19])
    assert row["score"] == pytest.approx(0.41) and row["random"] == pytest.approx(0.21) and row["runs"] == 3
    assert row["difference"] == pytest.approx(0.20) and row["degrees"] == 2 and row["status"] == ""
    reach = stats.t.ppf(0.975, 2) * 0.01 / math.sqrt(3)
    assert (row["low"], row["high"]) == pytest.approx((0.20 - reach, 0.20 + reach))
    assert row["p"] == pytest.approx(stats.ttest_1samp(gains, 0).pvalue)
    reach = stats.t.ppf(0.975, 2) * 0.09 / math.sqrt(3)
    assert (row["score_low"], row["score_high"]) == pytest.approx((0.41 - reach, 0.41 + reach))


def test_rows_are_ordered_by_their_gain_with_the_baselines_last(study):
    table = selector_table(study.cells)
    expected = ["longest", "k_center", "micro_token, level 1", "random"]
    assert list(table["selector"]) == 2 * expected
    assert list(table["match"]) == 4 * ["none"] + 4 * ["length"]
    assert table.loc[table["selector"] == "random", "difference"].isna().all()


def test_holm_corrects_for_all_differences_of_the_table(study):
    table = selector_table(study.cells).dropna(subset=["p"])
    smallest = table.sort_values("p").iloc[0]
    assert len(table) == 6
    assert smallest["p_holm"] == pytest.approx(6 * smallest["p"])


def test_costs_are_those_of_the_longest_run(study):
    row = of(selector_table(study.cells), "k_center", match="none")
    assert (row["select_seconds"], row["gpu_seconds"], row["llm_calls"]) == (10.0, 0.0, 0.0)
    on_gpu = selector_table(study.cells.assign(**{"train.accelerator": "cuda", "units.tagger.calls": 40}))
    row = of(on_gpu, "k_center", match="none")
    assert (row["gpu_seconds"], row["llm_calls"]) == (10.0, 40.0)


def test_the_part_of_length_is_what_matching_takes_from_the_gain(study):
    table = length_table(study.cells)
    assert list(table["selector"]) == ["longest", "k_center", "micro_token, level 1"]
    row = of(table, "longest")
    assert (row["gain"], row["gain_matched"], row["difference"]) == pytest.approx((0.20, 0.05, 0.15))
    assert row["share"] == pytest.approx(0.75) and row["log_length"] == pytest.approx(math.log(2))
    low, high = stats.t.interval(0.95, 2, loc=0.15, scale=0.01)  # sd of 0.16, 0.16, 0.13, by sqrt(3)
    assert (row["low"], row["high"]) == pytest.approx((low, high))
    assert math.isnan(of(table, "k_center")["share"])  # no gain of which there could be a share
    gains, lengths = [0.20, 0.0, -0.02], [math.log(2), 0.0, -math.log(2)]
    assert length_r2(table) == pytest.approx(stats.pearsonr(gains, lengths).statistic ** 2)


def test_overlap_is_that_of_the_subsets_of_one_replicate(study):
    matrix = selector_overlap(study.cells, study.folder)["none"]
    assert matrix.loc["longest", "k_center"] == pytest.approx(2 / 6)  # {0..3} and {2..5}
    assert matrix.loc["longest", "micro_token, level 1"] == 0
    assert matrix.loc["random", "random"] == pytest.approx(2 / 6)  # two draws of a replicate
    assert math.isnan(matrix.loc["longest", "longest"])  # one subset per replicate


def test_selectors_of_one_name_are_told_apart_by_their_settings(tmp_path):
    for part in ("low", "high"):
        config = {"selection": {"selector": {"part": part}}}
        row = synthetic_row("parts", "micro_token", "response", 1.0, 0, 0.1)
        row |= {"kind": "selector", "selector": "perplexity", "level": None, "cell": part, "config_hash": part}
        write_cell(tmp_path / "parts", row, config=config)
    labels = set(competitors(load_study(tmp_path / "parts").cells)["label"])
    assert labels == {"perplexity · part=low", "perplexity · part=high"}


def test_runs_that_are_not_shared_are_compared_as_independent(study):
    cells = study.cells[~((study.cells["kind"] == "random") & (study.cells["replicate"] > 0))]
    row = of(selector_table(cells), "longest", match="none")
    assert row["difference"] == pytest.approx(0.41 - 0.12) and row["status"] == "too few runs"
    single = cells[~cells["cell"].isin(["random-none-r0-1"])]
    assert math.isnan(of(selector_table(single), "longest", match="none")["low"])


def test_a_study_of_ladders_compares_no_selectors(study):
    ladders = study.cells[study.cells["kind"] != "selector"]
    assert selector_table(ladders).empty and length_table(ladders).empty
    assert selector_overlap(ladders, study.folder) == {}
    assert isinstance(selector_table(ladders), pd.DataFrame)
