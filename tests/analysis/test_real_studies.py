"""Analyses of sweeps that were really run (`real_study`), not of made-up tables: what real rows hold matters."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from real_study import write_real_study
from rich.console import Console
from scipy import stats

from sftdiv.analysis.item_scores import item_scores
from sftdiv.analysis.study import load_study
from sftdiv.pipeline.analyze_study import analyze_cells, analyze_study
from sftdiv.reporting.study.findings import sentences
from sftdiv.reporting.study.study_terminal import slope_table

MICRO, MESO = (f"{name} · response · 150 · tiny · unmatched" for name in ("micro_token", "meso_tag"))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("real")
    return {name: write_real_study(folder, name) for name in ("replicated", "real", "tokenizers")}


@pytest.fixture(scope="module")
def analyses(folders):
    return {name: analyze_cells(folder) for name, folder in folders.items()}


def level_row(analysis, label):
    slopes = analysis.slopes[analysis.slopes["predictor"] == "level"].set_index("ladder")
    return slopes.loc[label]


def test_replicates_are_ladders_of_one_series(analyses):
    analysis = analyses["replicated"]
    assert list(analysis.slopes["ladder"].unique()) == [MESO, MICRO]
    row = level_row(analysis, MICRO)
    assert (row["design"], row["ladders"], row["n"], row["levels"]) == ("replicated", 3, 9, 3)
    assert row["status"] == "too few runs"  # nine cells less two for each of three lines: three degrees of freedom


def test_seeds_of_one_ladder_are_not_replicates(analyses):
    slopes = analyses["real"].slopes
    assert set(slopes["design"]) == {"shared"} and set(slopes["ladders"]) == {1}
    assert set(slopes["status"]) == {"too few runs, one ladder"}


def test_rows_with_a_ladder_that_all_seeds_share_are_one_ladder(analyses):
    study = analyses["tokenizers"].study
    assert set(study.cells["seed.ladder"]) == {0} and set(analyses["tokenizers"].slopes["design"]) == {"shared"}


def test_strategies_and_sides_of_a_real_sweep_are_compared(analyses):
    """Every cell has a command of its own, which is no variant: four series, four pairs that differ in one thing."""
    commands = {settings["command"] for settings in analyses["real"].study.settings.values()}
    assert len(commands) == len(analyses["real"].study.cells)
    assert len(analyses["real"].differences) == 4 and set(analyses["real"].study.cells["variant"]) == {""}
    (row,) = analyses["replicated"].differences.to_dict("records")
    assert row["paired"] and {row["a"], row["b"]} == {MICRO, MESO}
    assert not [note for name in ("real", "replicated") for note in analyses[name].notes if "not compared" in note]


def test_variants_of_a_real_sweep_name_the_setting_and_no_command(analyses):
    variants = set(analyses["tokenizers"].study.cells["variant"])
    assert variants == {"strategy.tokenizer=model", "strategy.tokenizer=words"}
    for analysis in analyses.values():
        assert not analysis.slopes["ladder"].str.contains("command|python").any()


def test_ranks_of_three_levels_have_the_p_value_of_their_permutations(analyses):
    p_values = analyses["real"].slopes["spearman_p"].dropna()
    assert len(p_values) == 12 and p_values.min() >= 1 / 3 - 1e-12
    correlations = analyses["tokenizers"].correlations
    single = correlations[correlations["scope"].str.startswith("micro_token") & (correlations["n"] == 3)]
    assert (single["spearman"].abs() > 0.999).any() and single["spearman_p"].dropna().min() == pytest.approx(1 / 3)
    replicated = analyses["replicated"].correlations["spearman_p"].dropna()
    assert replicated.min() >= 0.25  # three ladders: two of eight signs


def test_too_few_runs_lead_no_findings(analyses):
    told = sentences(analyses["replicated"])
    assert told[0].startswith("Too few runs: 2 slopes") and "at least 3 ladders and 5 degrees of freedom" in told[0]
    told = sentences(analyses["real"])
    assert told[0].startswith("Too few runs, one ladder: 4 slopes") and "replicate=0,1,2" in told[0]
    for analysis in analyses.values():
        assert not any("remain" in sentence for sentence in sentences(analysis))


def test_notes_of_two_seeds_do_not_say_one(analyses):
    assert analyses["real"].study.cells["seed"].nunique() == 2
    assert not [note for note in analyses["real"].notes if "one seed" in note]


def test_items_of_a_real_sweep_are_part_of_the_interval(folders, analyses):
    study = analyses["replicated"].study
    cells = study.cells[study.cells["ladder"] == MICRO]
    scores = item_scores(cells, folders["replicated"])
    assert scores.shape == (9, 40)
    assert scores.mean(axis=1) == pytest.approx(cells["performance"].to_numpy(), rel=1e-9)
    row = level_row(analyses["replicated"], MICRO)
    slopes = [stats.linregress(part["level"], part["performance"]).slope for _, part in cells.groupby("seed.ladder")]
    assert row["items"] == 40 and row["slope"] == pytest.approx(np.mean(slopes))
    assert row["slope_se"] > np.std(slopes, ddof=1) / math.sqrt(3)


def test_a_cell_without_its_items_leaves_them_out_of_the_interval_and_a_note_says_so(tmp_path):
    folder = write_real_study(tmp_path, "replicated")
    path = next(folder.glob("micro_token-response-*/evaluation/embedded/*.parquet"))
    table = pq.read_table(path)
    pq.write_table(table.slice(0, 30), path)  # other items: the mean is no longer the score
    analysis = analyze_cells(folder)
    assert level_row(analysis, MICRO)["items"] == 0 and level_row(analysis, MESO)["items"] == 40
    assert [note for note in analysis.notes if "scores of single items are not known" in note and MICRO in note]


def test_level_1_is_compared_with_random_draws_by_replicate(analyses):
    analysis = analyses["replicated"]
    cells = analysis.study.cells
    row = analysis.against_random.set_index("ladder").loc[MICRO]
    top = cells[(cells["ladder"] == MICRO) & (cells["level"] == 1)].set_index("seed.ladder")["performance"]
    drawn = cells[(cells["kind"] == "random") & (cells["universe_of"] == "micro_token")]
    theirs = stats.ttest_rel(top, drawn.set_index("seed.ladder")["performance"].reindex(top.index))
    assert (row["p"], row["runs"]) == (pytest.approx(theirs.pvalue), 3)


def test_components_of_replicates_are_of_what_changes_together(analyses):
    assert list(analyses["replicated"].components["component"]) == ["ladder + draw + training", "items"]
    assert list(analyses["real"].components["component"]) == ["draw + training", "items"]


def test_the_report_and_the_terminal_say_units_and_reasons(tmp_path):
    analysis = analyze_study(write_real_study(tmp_path, "replicated"))
    page = (tmp_path / "replicated" / "report.html").read_text(encoding="utf-8")
    for words in ("points of word probability", "too few runs", "ladder + draw + training", "Level 1 against random"):
        assert words in page
    console = Console(width=100, record=True)
    console.print(slope_table(analysis))
    text = " ".join(console.export_text().split())
    assert "points of word probability from level 0 to level 1 ± 1 standard error" in text
    assert "no asterisk: too few runs" in text
    written = pd.read_csv(tmp_path / "replicated" / "slopes.csv")
    assert {"design", "ladders", "degrees", "slope_p", "slope_p_holm", "slope_q", "status", "slope_per_sd"} <= set(
        written
    )


def test_replicates_that_share_their_types_are_noted(tmp_path, analyses):
    """The ladders of ``replicated`` each have 70 % of the universe; of the whole universe they would differ in ties."""
    words = "differ in the order of equal types only"
    assert not [note for analysis in analyses.values() for note in analysis.notes if words in note]
    folder = write_real_study(tmp_path, "replicated")
    for path in folder.glob("*/result.json"):
        row = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps(row | {"config.selection.universe_share": 1.0}), encoding="utf-8")
    assert [note for note in load_study(folder).notes if words in note]
    for path in folder.glob("*/result.json"):
        row = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps(row | {"config.selection.selector.prune": "random"}), encoding="utf-8")
    assert not [note for note in load_study(folder).notes if words in note]
