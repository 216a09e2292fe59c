"""A study folder becomes tables: what they hold, by hand where it can be, and every message about cells
that cannot be compared."""

from __future__ import annotations

import json
import math
import shutil
import time

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from scipy import stats
from synthetic_study import (
    LEVELS,
    PRIMARY,
    SLOPES,
    synthetic_config,
    synthetic_row,
    write_cell,
    write_failure,
    write_synthetic_study,
)

from sftdiv.analysis.analysis import analyze
from sftdiv.analysis.inference import fit_ladders
from sftdiv.analysis.study import load_study
from sftdiv.analysis.variants import differing, ladder_label
from sftdiv.diversity.registry import PAPER_METRICS, detail_columns
from sftdiv.pipeline.analyze_study import show_analysis
from sftdiv.records import SftdivError
from sftdiv.storage.cell import RESULT, RUNNING

COLUMNS = {"first_metrics": PAPER_METRICS, "detail_metrics": detail_columns()}
MICRO = "micro_token · response · 2,000 · tiny · unmatched"


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    """Six ladders of three seeds, unmatched and length-matched, with baselines and a failure, and its analysis."""
    folder = write_synthetic_study(tmp_path_factory.mktemp("multirun") / "demo")
    study = load_study(folder)
    return study, analyze(study, **COLUMNS)


def small(folder, *, levels=(0.0, 0.5, 1.0), seeds=(0, 1), strategies=("micro_token",), score=None, **changed):
    """A study of a few ladders, on responses; ``score(level, seed)`` is the performance, ``changed``
    replaces values of every row."""
    for strategy in strategies:
        for level in levels:
            for seed in seeds:
                value = score(level, seed) if score else 0.3 + 0.1 * level + 0.01 * math.sin(9 * level + 5 * seed)
                row = synthetic_row(folder.name, strategy, "response", level, seed, value)
                write_cell(folder, row | changed, subset=range(round(100 * level), round(100 * level) + 50))
    return folder


def rewrite(folder, **changed):
    path = folder / RESULT
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


def analyzed(folder, **settings):
    return analyze(load_study(folder), **COLUMNS, **settings)


def one(table, **where):
    """The only row of a table with these values."""
    for name, value in where.items():
        table = table[table[name] == value]
    (row,) = [row for _, row in table.iterrows()]
    return row


def noted(notes, *words):
    return [note for note in notes if all(word in note for word in words)]


# what the tables hold


def test_the_share_of_types_is_that_of_distinct_types_where_matched(tmp_path):
    """Matched, k counts a type once in each stratum: the row's own share holds. Older rows lack it."""
    for number, (match, share) in enumerate((("none", 0.9), ("length", 0.59), ("source", None))):
        row = synthetic_row("shares", "micro_token", "response", 0.5, number, 0.3, match=match)
        write_cell(tmp_path / "shares", row | ({} if share is None else {"types.share": share}))
    cells = load_study(tmp_path / "shares").cells.set_index("match")
    of_k = cells["k_asked"] / cells["k_max"]
    assert cells.loc["length", "k_share"] == 0.59
    assert (cells["k_share"] == of_k)[["none", "source"]].all()


def test_a_study_has_a_row_for_each_finished_cell(made_up):
    study, _ = made_up
    assert study.name == "demo"
    assert dict(study.cells["kind"].value_counts()) == {"level": 12 * 21, "random": 36, "full": 36, "base": 6}
    row = one(study.cells, ladder=MICRO, level=0.5, seed=1)
    assert (row["performance"], row["k_share"]) == (row[f"score.{PRIMARY}"], row["k_asked"] / row["k_max"])
    assert (row["unit_entropy"], row["variant"]) == (row["diversity.units.entropy"], "")
    assert set(study.cells.loc[study.cells["kind"] != "level", "ladder"]) == {""}
    assert list(study.failures.itertuples(index=False, name=None)) == [
        ("micro_token-response-n2000-d0.5-tiny-s100-h83f620", "train", "ValueError: the loss is nan at step 12")
    ]
    assert noted(study.notes, "failed cells: 1 beside 330")


def test_the_slopes_are_those_that_made_the_scores(made_up):
    _, analysis = made_up
    table = analysis.slopes
    assert list(table["predictor"].unique()) == ["level", "k_share", "unit_entropy"] and len(table) == 12 * 3
    for _, row in table[table["predictor"] == "level"].iterrows():
        reach = stats.t.ppf(0.9995, row["degrees"]) * row["slope_se"]
        assert abs(row["slope"] - SLOPES[row["strategy"], row["side"]]) < reach
        assert (row["design"], row["ladders"], row["status"]) == ("shared", 1, "too few runs, one ladder")
        assert (row["n"], row["seeds"], row["levels"]) == (21, 3, 7)
    strong = one(table, ladder=MICRO, predictor="level")
    assert strong["slope_low"] > 0 and strong["pearson_low"] > 0.5 and strong["spearman"] > 0.5


def test_a_row_of_the_slope_table_is_the_arithmetic_on_its_cells(made_up):
    study, analysis = made_up
    cells = study.cells[study.cells["ladder"] == MICRO]
    x, y, length = (cells[name].to_numpy() for name in ("unit_entropy", "performance", "diversity.response.length"))
    row = one(analysis.slopes, ladder=MICRO, predictor="unit_entropy")
    one_ladder, levels = np.zeros(len(x), dtype=int), cells["level"].to_numpy()
    slope = fit_ladders(x[:, None], y, ladders=one_ladder, levels=levels).contrast(np.array([0.0, 1]))
    both = fit_ladders(np.column_stack([x, length]), y, ladders=one_ladder, levels=levels)
    given = both.contrast(np.array([0.0, 1, 0]))
    assert list(row[["slope", "slope_se", "degrees"]]) == [slope.center, slope.scale, slope.degrees]
    line = stats.linregress(x, y)
    assert list(row[["slope", "intercept"]]) == pytest.approx([line.slope, line.intercept])
    assert (row["slope_low"], row["slope_high"]) == slope.interval()
    assert list(row[["slope_given_length", "slope_given_length_se"]]) == [given.center, given.scale]
    assert list(row[["pearson", "spearman"]]) == pytest.approx(
        [stats.pearsonr(x, y).statistic, stats.spearmanr(x, y).statistic]
    )
    assert row["collinear_tokens"] == pytest.approx(stats.pearsonr(x, cells["train.label_tokens"]).statistic ** 2)


def test_collinear_covariates_are_warned_of_in_the_unmatched_ladders_alone(made_up):
    _, analysis = made_up
    (note,) = noted(analysis.notes, "mean response length are not separable")
    assert "6 series" in note and "unmatched" in note
    by_match = analysis.slopes.groupby("match")["collinear_length"]
    assert by_match.min()["none"] > 0.9 > by_match.max()["length"]


def test_differences_are_of_ladders_that_differ_in_strategy_or_side_alone(made_up):
    _, analysis = made_up
    table = analysis.differences
    assert len(table) == 2 * (
        3 + 2 * 3
    )  # for each match: three strategies' two sides, and on each side three pairs of strategies
    row = one(table, a="meso_tag · response · 2,000 · tiny · unmatched", b=MICRO)
    slopes = analysis.slopes[analysis.slopes["predictor"] == "level"].set_index("ladder")["slope"]
    assert row["difference"] == pytest.approx(slopes[row["a"]] - slopes[row["b"]])
    assert row["low"] < row["difference"] < 0 and row["probability"] < 0.05
    assert not row["paired"] and row["status"] == "too few runs, one ladder"


def test_correlations_have_q_values_over_metrics_and_sides(made_up):
    study, analysis = made_up
    table = analysis.correlations
    scope = table[table["scope"] == MICRO]
    measured = [*PAPER_METRICS, "ngram_ratio"]
    assert list(scope["metric"]) == measured * 2 and list(scope["side"]) == ["instruction"] * 8 + ["response"] * 8
    assert scope["q"].to_numpy() == pytest.approx(stats.false_discovery_control(scope["pearson_p"].to_numpy()))
    cells = study.cells[study.cells["ladder"] == MICRO]
    expected = stats.pearsonr(cells["diversity.response.self_bleu"], cells["performance"])
    row = one(scope, side="response", metric="self_bleu")
    levels_as_units = 2 * stats.t.sf(abs(expected.statistic) * math.sqrt(5 / (1 - expected.statistic**2)), 5)
    assert (row["pearson"], row["pearson_p"]) == (pytest.approx(expected.statistic), pytest.approx(levels_as_units))
    assert row["pearson_low"] < row["pearson"] < row["pearson_high"] < 0
    assert list(table["scope"].unique()[:3]) == [
        "all",
        "all · 2,000 · tiny · unmatched",
        "all · 2,000 · tiny · length-matched",
    ]
    assert noted(analysis.notes, "'all'", "within their own setting only", "2 settings")


def test_across_settings_cells_are_compared_within_their_own(tmp_path):
    """Two sizes: within each the score falls with the ratio, between them both rise; one pooled coefficient
    would hide it."""
    folder = tmp_path / "sizes"
    for size, base in ((1000, 0.2), (2000, 0.8)):
        for index in range(6):
            row = synthetic_row("sizes", "micro_token", "response", index / 5, 0, base - 0.02 * index, size=size)
            write_cell(
                folder,
                row | {"diversity.response.ngram_ratio": base + 0.02 * index + 0.001 * (index % 2)},
                subset=range(9),
            )
    table = analyzed(folder).correlations
    rows = {
        scope: one(table, scope=scope, side="response", metric="ngram_ratio") for scope in table["scope"].unique()[:3]
    }
    assert list(rows) == ["all", "all · 1,000 · tiny · unmatched", "all · 2,000 · tiny · unmatched"]
    assert all(row["pearson"] < -0.99 and row["spearman"] == pytest.approx(-1) for row in rows.values())
    r = rows["all"]["pearson"]
    assert rows["all"]["pearson_p"] == pytest.approx(
        2 * stats.t.sf(abs(r) * math.sqrt(9 / (1 - r**2)), 9)
    )  # 12 cells, two means, a slope


def test_overlaps_ladders_baselines_noise_and_power(made_up):
    study, analysis = made_up
    overlap = analysis.overlaps[MICRO]
    assert list(overlap.index) == pytest.approx(list(LEVELS)) and overlap.shape == (7, 7)
    assert overlap.iloc[0, 0] > overlap.iloc[6, 6] > 0  # the same small pool, the same large one
    ladder = one(analysis.ladders, ladder=MICRO, level=1.0)
    cells = study.cells[(study.cells["ladder"] == MICRO) & (study.cells["level"] == 1)]
    assert (ladder["k_asked"], ladder["seeds"], ladder["performance"]) == (449, 3, cells["performance"].mean())
    assert ladder["performance_sd"] == pytest.approx(cells["performance"].std())
    assert ladder["response_tokens"] == pytest.approx(cells["diversity.response.length"].mean())
    full = one(analysis.baselines, kind="full", universe_of="meso_tag", side="response", match="none")
    assert (full["cells"], full["size"]) == (3, 9000)
    base = analysis.baselines[analysis.baselines["kind"] == "base"]
    assert list(base["performance"]) == pytest.approx([0.2, 0.2]) and base["universe_of"].isna().all()
    noise = one(analysis.noise, ladder=MICRO)
    by_level = study.cells[study.cells["ladder"] == MICRO].groupby("level")["performance"]
    assert (noise["seed_sd"], noise["degrees"]) == (pytest.approx(math.sqrt(by_level.var().mean())), 14)
    assert noise["score_stderr"] == pytest.approx(0.0081)
    power = analysis.power[analysis.power["ladder"] == MICRO]
    as_run = power[power["design"] == "as run"]
    assert (as_run["ladders"].diff().dropna() <= 0).all() and set(power["noise_from"]) == {"levels"}
    assert list(power["design"].unique()) == [
        "as run",
        "3 levels",
        "1 run per ladder and level",
        "6 runs per ladder and level",
    ]
    by_design = power[power["slope"] == 0.01].set_index("design")["ladders"]
    assert by_design["3 levels"] >= by_design["as run"] >= by_design["6 runs per ladder and level"]
    assert by_design["1 run per ladder and level"] >= by_design["as run"]
    components = analysis.components.set_index("component")
    assert list(components.index) == ["draw + training", "items"]
    assert components.loc["draw + training", "sd"] == pytest.approx(math.hypot(0.008, 0.004), rel=0.25)
    assert components.loc["items", "sd"] == pytest.approx(0.0081)


def test_the_overlap_of_subsets_by_hand(tmp_path):
    # 50 ids from 0, from 50 and from 100, for either seed: disjoint levels, equal seeds; without a second
    # seed no diagonal
    table = analyzed(small(tmp_path / "two")).overlaps[MICRO]
    assert table.to_numpy() == pytest.approx(np.eye(3))
    alone = analyzed(small(tmp_path / "one", seeds=(0,))).overlaps[MICRO]
    assert np.isnan(np.diag(alone)).all() and alone.loc[0.0, 0.5] == 0


def test_a_lower_score_is_better_where_the_row_says_so(tmp_path):
    study = load_study(small(tmp_path / "loss", score=lambda level, seed: 3 - level, higher_is_better=False))
    assert sorted(set(study.cells["performance"])) == [-3, -2.5, -2]
    assert noted(study.notes, PRIMARY, "better when lower")


def test_cells_that_machines_trained_in_several_precisions_are_noted(tmp_path):
    """A cell's name holds the precision asked for; what `auto` found on the machine is in the row."""
    folder = small(tmp_path / "mixed")
    assert not noted(load_study(folder).notes, "precisions")
    for number, path in enumerate(sorted(folder.glob(f"*/{RESULT}"))):
        row = json.loads(path.read_text()) | {"train.precision": "bf16-mixed" if number % 2 else "32-true"}
        path.write_text(json.dumps(row))
    assert noted(load_study(folder).notes, "different precisions (32-true, bf16-mixed)")


def test_the_order_in_which_cells_finish_changes_nothing(tmp_path):
    folder = write_synthetic_study(tmp_path / "a" / "demo", seeds=(0, 1), matches=("none",), levels=(0.0, 0.5, 1.0))
    other = tmp_path / "b" / "demo"
    other.mkdir(parents=True)
    for cell in sorted(folder.iterdir(), reverse=True):
        shutil.copytree(cell, other / cell.name)
    first, second = analyzed(folder), analyzed(other)
    pd.testing.assert_frame_equal(first.study.cells, second.study.cells)
    for name in ("slopes", "differences", "correlations", "ladders", "baselines", "noise", "power"):
        pd.testing.assert_frame_equal(getattr(first, name), getattr(second, name))
    assert first.notes == second.notes and list(first.overlaps) == list(second.overlaps)


def test_the_cells_can_be_written_as_parquet(made_up, tmp_path):
    study, _ = made_up
    study.cells.to_parquet(tmp_path / "cells.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "cells.parquet"), study.cells, check_dtype=False)


def test_three_hundred_cells_take_seconds(made_up):
    study, _ = made_up
    started = time.process_time()
    analyze(load_study(study.folder), **COLUMNS)
    assert time.process_time() - started < 20  # about 6 s on a free core


# replicated ladders


@pytest.fixture(scope="module")
def replicated(tmp_path_factory):
    """Two series of six ladders each."""
    slopes = {("micro_token", "response"): 0.08, ("meso_tag", "response"): 0.0}
    folder = tmp_path_factory.mktemp("multirun") / "replicated"
    write_synthetic_study(folder, slopes=slopes, seeds=range(6), matches=("none",), replicated=True)
    study = load_study(folder)
    return study, analyze(study, **COLUMNS)


def test_replicates_are_ladders_of_one_series_whose_slopes_are_averaged(replicated):
    study, analysis = replicated
    row = one(analysis.slopes, ladder=MICRO, predictor="level")
    cells = study.cells[study.cells["ladder"] == MICRO]
    slopes = [
        stats.linregress(ladder["level"], ladder["performance"]).slope for _, ladder in cells.groupby("seed.ladder")
    ]
    interval = stats.ttest_1samp(slopes, 0).confidence_interval()
    assert (row["design"], row["ladders"], row["degrees"], row["status"]) == ("replicated", 6, 5, "")
    assert (row["slope"], row["slope_low"], row["slope_high"]) == pytest.approx((np.mean(slopes), *interval))
    assert row["slope_p"] == pytest.approx(stats.ttest_1samp(slopes, 0).pvalue)
    none = one(analysis.slopes, ladder=MICRO.replace("micro_token", "meso_tag"), predictor="level")
    ps = sorted([row["slope_p"], none["slope_p"]])
    assert sorted([row["slope_p_holm"], none["slope_p_holm"]]) == pytest.approx([2 * ps[0], max(2 * ps[0], ps[1])])
    assert not noted(analysis.notes, "one ladder")


def test_slopes_of_the_same_replicates_are_compared_replicate_by_replicate(replicated):
    study, analysis = replicated
    (row,) = analysis.differences.to_dict("records")
    by_ladder = {
        label: [
            stats.linregress(ladder["level"], ladder["performance"]).slope for _, ladder in cells.groupby("replicate")
        ]
        for label, cells in study.cells[study.cells["kind"] == "level"].groupby("ladder")
    }
    expected = stats.ttest_rel(by_ladder[row["a"]], by_ladder[row["b"]])
    assert row["paired"] and row["p"] == pytest.approx(expected.pvalue)
    assert (row["low"], row["high"]) == pytest.approx(tuple(expected.confidence_interval()))
    assert row["probability"] == pytest.approx(
        expected.pvalue / 2 if row["difference"] < 0 else 1 - expected.pvalue / 2
    )


def test_correlations_are_means_over_replicates(replicated):
    study, analysis = replicated
    row = one(analysis.correlations, scope=MICRO, side="response", metric="entropy")
    z = [
        math.atanh(stats.pearsonr(ladder["diversity.response.entropy"], ladder["performance"]).statistic)
        for _, ladder in study.cells[study.cells["ladder"] == MICRO].groupby("replicate")
    ]
    test = stats.ttest_1samp(z, 0)
    assert (row["pearson"], row["pearson_p"]) == pytest.approx((math.tanh(np.mean(z)), test.pvalue))
    assert (row["pearson_low"], row["pearson_high"]) == pytest.approx(tuple(np.tanh(test.confidence_interval())))


# ladders that must not be averaged


def write_variant(folder, tokenizer, config_hash, score):
    for level in (0.0, 0.5, 1.0):
        row = synthetic_row(
            folder.name, "micro_token", "response", level, 0, score + 0.1 * level + 0.01 * math.sin(9 * level)
        )
        row |= {"config_hash": config_hash, "cell": f"{row['cell']}-{config_hash}"}
        config = synthetic_config(row)
        config["strategy"]["tokenizer"] = tokenizer
        write_cell(folder, row, subset=range(5), config=config)


def test_ladders_of_other_settings_are_lines_of_their_own_and_say_how_they_differ(tmp_path):
    folder = tmp_path / "tokenizers"
    write_variant(folder, "model", "aaaaaa", 0.2)
    write_variant(folder, "words", "bbbbbb", 0.7)
    analysis = analyzed(folder)
    named = {f"{MICRO} · strategy.tokenizer=model": 0.2, f"{MICRO} · strategy.tokenizer=words": 0.7}
    rows = analysis.slopes[analysis.slopes["predictor"] == "level"].set_index("ladder")
    assert dict(rows["intercept"]) == pytest.approx(named, abs=0.03)
    assert list(rows["variant"]) == ["strategy.tokenizer=model", "strategy.tokenizer=words"]
    assert set(analysis.overlaps) == set(analysis.ladders["ladder"]) == set(analysis.noise["ladder"]) == set(named)
    assert noted(analysis.notes, "strategy.tokenizer=words", "analysed as separate series")
    assert analysis.differences.empty


def test_settings_are_not_columns_and_the_command_is_no_variant(tmp_path):
    folder = tmp_path / "tokenizers"
    write_variant(folder, "model", "aaaaaa", 0.2)
    write_variant(folder, "words", "bbbbbb", 0.7)
    study = load_study(folder)
    assert not [name for name in study.cells.columns if name.startswith("config.")]
    commands = {settings["command"] for settings in study.settings.values()}
    assert len(commands) == 3 and all(command.startswith("python -m sftdiv.run strategy=") for command in commands)
    assert set(study.cells["variant"]) == {"strategy.tokenizer=model", "strategy.tokenizer=words"}


def test_two_strategies_are_compared_although_their_commands_differ(tmp_path):
    analysis = analyzed(small(tmp_path / "commands", strategies=("micro_token", "meso_tag")))
    assert len(analysis.differences) == 1 and not noted(analysis.notes, "not compared")


def test_rows_of_a_selector_without_a_ladder_have_no_k(tmp_path):
    folder = small(tmp_path / "other")
    for path in folder.glob(f"*/{RESULT}"):
        row = json.loads(path.read_text())
        ladder = ("k_min", "k_max", "k_asked", "k_reached", "pool")
        path.write_text(json.dumps({key: value for key, value in row.items() if key not in ladder}))
    analysis = analyzed(folder)
    slopes = analysis.slopes.set_index("predictor")["slope"]
    assert slopes[["level", "unit_entropy"]].notna().all() and np.isnan(slopes["k_share"])
    assert analysis.ladders[["k_asked", "k_max", "k_reached", "pool"]].isna().all(axis=None)
    assert not noted(analysis.notes, "k_share") and not noted(analysis.notes, "unit types k")


def test_a_variant_names_few_settings_and_of_a_named_group_the_name_alone():
    one = {"eval.name": "embedded", "eval.primary": "acc", "model.width": 8, "corpus.seed": 0}
    assert differing([one, one | {"eval.name": "heldout", "eval.primary": "loss", "model.width": 16}]) == [
        "eval.name",
        "model.width",
    ]
    assert differing([one, one]) == []


@pytest.mark.parametrize(
    ("changed", "label"),
    [
        ({}, "meso_tag · response · 2,000 · tiny · unmatched"),
        ({"match": "length+source"}, "meso_tag · response · 2,000 · tiny · length+source-matched"),
        ({"budget": "tokens", "universe_of": "own"}, "meso_tag · response · 2,000 · tiny · unmatched · equal tokens"),
        (
            {"universe_of": "macro_topic", "variant": "x=1"},
            "meso_tag · response · 2,000 · tiny · unmatched · universe of macro_topic · x=1",
        ),
    ],
)
def test_the_label_of_a_ladder_says_what_it_is(changed, label):
    row = synthetic_row("labels", "meso_tag", "response", 0.5, 0, 0.3) | {"variant": ""}
    assert ladder_label(row | changed) == label


def test_without_configs_such_ladders_go_by_their_hash(tmp_path):
    folder = tmp_path / "tokenizers"
    write_variant(folder, "model", "aaaaaa", 0.2)
    write_variant(folder, "words", "bbbbbb", 0.7)
    for path in folder.glob(f"*-bbbbbb/{RESULT}"):
        row = json.loads(path.read_text())
        path.write_text(json.dumps({key: value for key, value in row.items() if not key.startswith("config.")}))
    assert list(load_study(folder).cells["variant"].unique()) == ["config_hash=aaaaaa", "config_hash=bbbbbb"]


@pytest.mark.parametrize(
    ("column", "words"), [("corpus_hash", "2 corpora in one folder"), ("eval_hash", "2 evaluations in one folder")]
)
def test_mixed_corpora_or_evaluations_are_told_and_never_averaged(tmp_path, column, words):
    folder = small(tmp_path / "mixed", levels=(0.0, 0.25, 0.5, 0.75, 1.0), seeds=(0,))
    for number, cell in enumerate(sorted(folder.iterdir())):
        name = f"{cell.name}-other"
        shutil.copytree(cell, folder / name)
        rewrite(folder / name, **{column: "ffffffffffff", "cell": name, f"score.{PRIMARY}": 100.0 + number})
    analysis = analyzed(folder)
    assert noted(analysis.notes, words, "5 cells", "never averaged")
    rows = analysis.slopes[analysis.slopes["predictor"] == "level"]
    assert len(rows) == 2 and list(rows["n"]) == [5, 5] and sorted(rows["intercept"].round()) == [0, 100]
    scopes = [scope for scope in analysis.correlations["scope"].unique() if scope.startswith("all")]
    assert len(scopes) == 2 and all(column in scope for scope in scopes)
    assert list(analysis.ladders["seeds"]) == [1] * 10


def test_ladders_whose_other_settings_differ_are_not_subtracted(tmp_path):
    folder = small(tmp_path / "rates", strategies=("micro_token", "meso_tag"))
    for cell in folder.glob("meso_tag*"):
        rewrite(cell, **{"config.model.finetune.learning_rate": 0.5})
    analysis = analyzed(folder)
    assert analysis.differences.empty
    assert noted(analysis.notes, "model.finetune.learning_rate", "not compared")


def test_two_folders_of_one_cell_are_an_error(tmp_path):
    folder = small(tmp_path / "twice")
    cell = sorted(folder.iterdir())[0]
    shutil.copytree(cell, folder / "copy")
    with pytest.raises(SftdivError, match=f"two folders contain the same cell: copy and {cell.name}"):
        load_study(folder)


# few cells, holes, constants, NaN


def test_no_folder_or_no_finished_cell_is_an_error(tmp_path):
    with pytest.raises(SftdivError, match=r"there is no study folder .*nowhere"):
        load_study(tmp_path / "nowhere")
    write_failure(tmp_path / "failed", "cell")
    with pytest.raises(SftdivError, match=r"no finished cell \(no \*/result.json; 1 failed\)"):
        load_study(tmp_path / "failed")


def test_rows_that_cannot_be_read_are_errors_with_their_path(tmp_path):
    folder = small(tmp_path / "rows")
    path = sorted(folder.glob(f"*/{RESULT}"))[0]
    whole = json.loads(path.read_text())
    for broken, words in (
        ("{", "is not valid JSON"),
        ("[1]", "contains a list"),
        (
            json.dumps({key: value for key, value in whole.items() if key not in ("eval_hash", "budget")}),
            "lacks budget, eval_hash",
        ),
        (json.dumps(whole | {"kind": "rung"}), "kind='rung'; known: level, random, full, base"),
        (json.dumps(whole | {"level": None}), "has no level"),
        (json.dumps(whole | {"higher_is_better": None}), "higher_is_better=None"),
    ):
        path.write_text(broken)
        with pytest.raises(SftdivError, match=words) as told:
            load_study(folder)
        assert str(path) in str(told.value)


def test_three_levels_of_one_seed_have_an_interval_and_notes(tmp_path):
    analysis = analyzed(small(tmp_path / "three", seeds=(0,)))
    row = one(analysis.slopes, predictor="level")
    assert row["slope_low"] < row["slope"] < row["slope_high"]
    assert all(math.isnan(row[name]) for name in ("pearson_low", "slope_given_length", "partial_length"))
    assert row["degrees"] == pytest.approx(1) and row["spearman_p"] == pytest.approx(1 / 3)
    for words in (
        "one ladder: which types each level keeps is one draw",
        "scores of single items are not known",
        "no slope given the mean response length",
    ):
        assert noted(analysis.notes, words, MICRO)
    assert analysis.noise["seed_sd"].isna().all()
    assert set(analysis.power["noise_from"]) == {"levels"} and analysis.power["ladders"].notna().all()
    assert noted(analysis.notes, "power takes the scatter of its levels around the line for that of ladders")


@pytest.mark.parametrize(
    ("levels", "words"),
    [((0.0,), "1 scored cell on 1 level: a line"), ((0.0, 1.0), "2 scored cells on 2 levels: a line")],
)
def test_too_few_cells_have_no_line(tmp_path, levels, words):
    analysis = analyzed(small(tmp_path / "few", levels=levels, seeds=(0,)))
    assert analysis.slopes["slope"].isna().all() and len(analysis.slopes) == 3
    assert noted(analysis.notes, words) and analysis.power.empty


def test_one_level_of_many_seeds_has_noise_and_no_slope(tmp_path):
    analysis = analyzed(
        small(tmp_path / "level", levels=(0.5,), seeds=range(6), score=lambda level, seed: 0.3 + 0.01 * seed)
    )
    assert noted(analysis.notes, "level is the same in every cell") and analysis.slopes.loc[0, "n"] == 6
    assert analysis.noise.loc[0, "seed_sd"] == pytest.approx(np.std(0.01 * np.arange(6), ddof=1))


def test_a_constant_score_has_no_slope(tmp_path):
    analysis = analyzed(small(tmp_path / "constant", score=lambda level, seed: 0.1 + 0.2))
    assert noted(analysis.notes, "performance is the same in every cell", MICRO)
    assert analysis.slopes["slope"].isna().all() and analysis.correlations["pearson"].isna().all()


def test_missing_levels_and_seeds_are_named(tmp_path):
    folder = small(tmp_path / "holes", levels=(0.0, 0.5, 0.75, 1.0), strategies=("meso_tag", "micro_token"))
    for cell in folder.glob("micro_token*d0.5*"):
        shutil.rmtree(cell)
    shutil.rmtree(next(folder.glob("micro_token*d1-*s1*")))
    notes = load_study(folder).notes
    assert noted(notes, "missing levels that other ladders have: 0.5", MICRO)
    assert noted(notes, "some of the 2 seeds are missing at level 1 ", MICRO)
    assert not noted(notes, "meso_tag")


def test_a_nan_score_is_left_out_and_told(tmp_path):
    folder = small(tmp_path / "nan", levels=LEVELS)
    cell = sorted(folder.iterdir())[0]
    rewrite(cell, **{f"score.{PRIMARY}": None})
    analysis = analyzed(folder)
    assert noted(analysis.notes, f"1 of 14 cells have no value of {PRIMARY}", cell.name)
    assert set(analysis.slopes["n"]) == {13} and analysis.slopes["slope"].notna().all()
    assert one(analysis.ladders, level=0.0)["seeds"] == 1


def test_without_a_primary_score_the_message_says_so_and_the_ladders_stand(tmp_path):
    analysis = analyzed(small(tmp_path / "none", primary=None))
    assert noted(analysis.notes, "6 of 6 cells have no primary score", "eval=none")
    assert analysis.slopes["slope"].isna().all() and analysis.differences.empty and analysis.correlations.empty
    assert analysis.ladders["k_asked"].notna().all() and analysis.overlaps[MICRO].shape == (3, 3)


def test_a_study_of_selections_says_that_nothing_was_trained(tmp_path, capsys):
    folder = small(tmp_path / "none", primary=None)
    for cell in folder.iterdir():
        rewrite(cell, **{"config.stop_after": "select"})
    analysis = analyzed(folder)
    assert noted(analysis.notes, "6 of 6 cells have no primary score", "stop_after=select: nothing was trained")
    assert not noted(analysis.notes, "no line: the ladders needed")  # said already: no cell has a performance
    show_analysis(analysis, Console(width=80))
    shown = capsys.readouterr().out
    assert "performance against diversity level" not in shown and "report: " in shown


def test_a_primary_score_that_nobody_computed_names_those_that_are_there(tmp_path):
    analysis = analyzed(small(tmp_path / "other", primary="win_rate"))
    assert noted(analysis.notes, "no cell has the primary score 'win_rate'", PRIMARY, "sftdiv_embedded_mc.acc")
    assert analysis.slopes["slope"].isna().all()


def test_a_study_that_stopped_after_selecting_still_has_its_ladders(tmp_path):
    folder = small(tmp_path / "select")
    for path in folder.glob(f"*/{RESULT}"):
        row = json.loads(path.read_text())
        path.write_text(
            json.dumps({key: value for key, value in row.items() if not key.startswith(("score.", "train."))})
        )
    analysis = analyzed(folder)
    assert noted(analysis.notes, "no cell has the primary score", "scores in this folder: none")
    assert analysis.ladders["unit_entropy"].notna().all() and analysis.ladders["label_tokens"].isna().all()


def test_baselines_alone_have_no_slope(tmp_path):
    write_cell(
        tmp_path / "base",
        synthetic_row("base", "random", "response", 0.0, 0, 0.2) | {"kind": "base", "level": None},
        subset=None,
    )
    analysis = analyzed(tmp_path / "base")
    assert noted(analysis.notes, "only baselines") and len(analysis.baselines) == 1
    assert all(table.empty for table in (analysis.slopes, analysis.ladders, analysis.correlations, analysis.power))


def test_other_selectors_are_baselines_by_their_names_and_universes(tmp_path):
    folder = small(tmp_path / "rivals")
    for number, (selector, strategy) in enumerate(
        [("k_center", "micro_token"), ("k_center", "meso_tag"), ("deita", "meso_tag")]
    ):
        for seed in (0, 1):
            row = synthetic_row("rivals", strategy, "response", 1.0, seed, 0.1 * number) | {"universe_of": "own"}
            row |= {"kind": "selector", "selector": selector, "level": None, "cell": f"{selector}-{strategy}-s{seed}"}
            row |= {"config_hash": f"{number}"}
            write_cell(folder, {name: value for name, value in row.items() if not name.startswith("k_")})
    analysis = analyzed(folder)
    rivals = analysis.baselines[analysis.baselines["kind"] == "selector"]
    named = dict(zip(zip(rivals["selector"], rivals["universe_of"], strict=True), rivals["cells"], strict=True))
    assert named == {("k_center", "micro_token"): 2, ("k_center", "meso_tag"): 2, ("deita", "meso_tag"): 2}
    assert set(rivals["variant"]) == {""} and len(analysis.slopes["ladder"].unique()) == 1


def test_other_messages(tmp_path):
    folder = small(tmp_path / "more", levels=(0.0, 0.5, 1.0))
    cells = sorted(folder.iterdir())
    rewrite(cells[0], **{"versions.torch": "2.14.0"})
    for cell in cells[2:4]:
        rewrite(cell, k_asked=94)
    (cells[0] / "subset.parquet").unlink()
    (folder / "unfinished").mkdir()
    (folder / "unfinished" / RUNNING).write_text("{}")
    rewrite(cells[1], **{"diversity.response.entropy": None})
    analysis = analyzed(folder)
    for words in (
        "unfinished cells, running or killed: 1",
        "different versions of torch: 2.13.0, 2.14.0",
        "some levels ask for the same number of unit types k",
        "subset.parquet is missing for some cells",
        "diversity.response.entropy is not known for 1 of 6 cells",
    ):
        assert noted(analysis.notes, words), words
