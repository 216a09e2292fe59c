"""What people see of a study: files, the page's text, tables, figures and the terminal, made from small
made-up studies."""

import html.parser
import json
import math
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from plotly.offline import get_plotlyjs
from rich.console import Console
from scipy import stats
from synthetic_study import BASE, PRIMARY, write_cell, write_synthetic_study

from sftdiv.analysis.series import series_of
from sftdiv.analysis.study_files import cells_table
from sftdiv.analyze import main
from sftdiv.pipeline.analyze_study import analyze_study
from sftdiv.reporting.format import MINUS, format_interval, format_number, format_share, format_signed
from sftdiv.reporting.study import interactive
from sftdiv.reporting.study.findings import sentences
from sftdiv.reporting.study.score_unit import score_unit
from sftdiv.reporting.study.slope_tables import controlled
from sftdiv.reporting.study.study_figures import write_figures
from sftdiv.reporting.study.study_page import in_script
from sftdiv.reporting.study.study_terminal import slope_table
from sftdiv.reporting.study.study_views import (
    baselines_in,
    controls,
    fitted_line,
    panels,
    performance_range,
    slope_grid,
)
from sftdiv.reporting.styles import styles

SLOPES = {("macro_topic", "instruction"): 0.02, ("micro_token", "response"): 0.08}
SMALL = {"slopes": SLOPES, "levels": (0.0, 0.25, 0.5, 1.0), "seeds": (0, 1)}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study of two ladders, unmatched and length-matched, with everything written into its folder."""
    return write_synthetic_study(tmp_path_factory.mktemp("studies") / "small", **SMALL)


@pytest.fixture(scope="module")
def analysis(study):
    return analyze_study(study)


@pytest.fixture(scope="module")
def page(study, analysis):
    return (study / "report.html").read_text(encoding="utf-8")


class Elements(html.parser.HTMLParser):
    """Every element's attributes, and the text outside scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.found, self.text, self._inside = [], "", None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        self._inside = tag

    def handle_data(self, data):
        if self._inside not in ("script", "style"):
            self.text += data

    def handle_endtag(self, tag):
        self._inside = None


def test_an_analysis_leaves_exactly_these_files(study, analysis):
    figures = {
        f"{name}.{kind}"
        for name in ("performance_by_level", "metric_correlations", "controlled_slopes", "overlap")
        for kind in ("png", "svg")
    }
    assert {path.name for path in study.iterdir() if path.is_file()} == {
        "report.html",
        "slopes.csv",
        "correlations.csv",
        "cells.parquet",
    }
    assert {path.name for path in (study / "figures").iterdir()} == figures


def test_equal_input_gives_equal_bytes(tmp_path):
    folders = [write_synthetic_study(tmp_path / one / "same", **SMALL) for one in ("a", "b")]
    for folder in folders:
        analyze_study(folder)
    for name in (
        "report.html",
        "slopes.csv",
        "correlations.csv",
        "cells.parquet",
        "figures/overlap.svg",
        "figures/performance_by_level.png",
    ):
        first, second = ((folder / name).read_bytes() for folder in folders)
        assert first == second, name


def test_what_the_machine_took_is_not_part_of_the_cells(study, analysis):
    cells = analysis.study.cells
    slower = cells.assign(**{"time.train": cells["time.train"] * 2, "memory.process_peak_gib": 9.0})
    pd.testing.assert_frame_equal(cells_table(cells), cells_table(slower.sample(frac=1, random_state=0)))
    written = pd.read_parquet(study / "cells.parquet")
    assert len(written) == len(cells) and f"score.{PRIMARY}" in written and "time.train" not in written


def test_the_csv_files_hold_the_tables_at_full_precision(study, analysis):
    written = pd.read_csv(study / "slopes.csv")
    assert written["slope"].tolist() == analysis.slopes["slope"].tolist()
    assert len(pd.read_csv(study / "correlations.csv")) == len(analysis.correlations)


def test_the_page_is_one_file_that_asks_nobody(page):
    elements = Elements(page)
    links = [attributes.get(name, "") for _, attributes in elements.found for name in ("src", "href")]
    assert not [link for link in links if "//" in link]
    assert page.count(get_plotlyjs()[:400]) == 1
    assert "default-src 'none'" in page and "unsafe-inline'; script-src 'sha256-" in page


def test_every_entry_of_the_contents_leads_somewhere_and_no_id_is_twice(page):
    elements = Elements(page)
    ids = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    inside = [
        attributes["href"][1:]
        for tag, attributes in elements.found
        if tag == "a" and attributes["href"].startswith("#")
    ]
    assert len(inside) > 5 and set(inside) <= set(ids)


def test_links_to_cells_lead_to_their_folders(study, page):
    folders = {
        attributes["href"].rstrip("/")
        for tag, attributes in Elements(page).found
        if tag == "a" and attributes["href"].endswith("/")
    }
    assert folders == {
        path.name for path in study.iterdir() if (path / "result.json").exists() or (path / "failure.json").exists()
    }


def test_the_page_shows_the_slopes_of_the_analysis(page, analysis):
    text = Elements(page).text
    for _, row in analysis.slopes[analysis.slopes["predictor"] == "level"].iterrows():
        assert f"{format_signed(100 * row['slope'])} ± {100 * row['slope_se']:.2f}" in text
        assert format_interval(100 * row["slope_low"], 100 * row["slope_high"]) in text
    assert "ValueError: the loss is nan at step 12" in text
    assert all(note in text for note in analysis.notes)


def test_words_from_data_are_words(tmp_path):
    evil = "</script><script>alert(1)</script>"
    folder = write_synthetic_study(
        tmp_path / "<img src=x onerror=alert(2)>", **SMALL, changed={"model": evil, "corpus": f"{evil}<!--"}
    )
    page = (analyze_study(folder, draw=False), folder / "report.html")[1].read_text(encoding="utf-8")
    assert evil not in page and "<img" not in page.replace(get_plotlyjs(), "")
    assert "&lt;img src=x onerror=alert(2)&gt;" in page and "&lt;/script&gt;" in page
    assert [tag for tag, _ in Elements(page).found].count("script") == 3


def test_data_in_a_script_cannot_end_it():
    assert in_script({"a": "</script><!-- & \u2028"}) == '{"a":"\\u003c/script\\u003e\\u003c!-- \\u0026 \\u2028"}'


def test_plotly_is_told_escaped_text(analysis):
    cell = analysis.study.cells.iloc[0].to_dict() | {"cell": "<b onmouseover=x>"}
    assert "&lt;b onmouseover=x&gt;" in interactive.describe_cell(cell)


def test_a_page_elsewhere_still_links_to_the_cells(study, tmp_path):
    out = tmp_path / "out"
    analyze_study(study, out=out, draw=False)
    links = [
        attributes["href"]
        for tag, attributes in Elements((out / "report.html").read_text(encoding="utf-8")).found
        if tag == "a"
    ]
    cells = [link for link in links if link.endswith("/")]
    assert cells and all((out / link).is_dir() for link in cells)
    assert not (out / "figures").exists()


def test_the_page_names_the_command_of_the_sweep(tmp_path):
    folder = write_synthetic_study(tmp_path / "swept", **SMALL)
    (folder / "sweep.json").write_text(
        '{"command": "python -m sftdiv.run +experiment=swept", "cells": {}}', encoding="utf-8"
    )
    analyze_study(folder, draw=False, seed=3)
    text = Elements((folder / "report.html").read_text(encoding="utf-8")).text
    assert "python -m sftdiv.run +experiment=swept" in text
    assert "python -m sftdiv.analyze multirun/swept --seed 3" in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seeds": (0,)}, "No level has two runs"),
        ({"levels": (0.5,)}, "No ladder has enough cells for a slope"),
        ({"changed": {"primary": None}}, "No ladder has enough cells for a slope"),
        ({"baselines": False}, "This study has no baselines"),
        ({"failures": 0}, "No cell failed."),
        ({"slopes": {}}, "No ladder has cells to draw."),
        (
            {"slopes": {("micro_token", "response"): 0.08}, "matches": ("none",)},
            "No two ladders differ only in strategy or only in side.",
        ),
    ],
)
def test_a_study_that_lacks_something_says_so(tmp_path, changes, said):
    folder = write_synthetic_study(tmp_path / "lacking", **(SMALL | changes))
    analysis = analyze_study(
        folder, draw=said == "No ladder has cells to draw." or "seeds" in changes or "levels" in changes
    )
    assert said in Elements((folder / "report.html").read_text(encoding="utf-8")).text
    slope_table(analysis)


def test_a_line_is_that_of_an_ordinary_regression_and_its_band_that_of_clustered_levels(analysis):
    slope = analysis.slopes[analysis.slopes["predictor"] == "level"].iloc[0]
    cells = analysis.study.cells[analysis.study.cells["ladder"] == slope["ladder"]]
    line = fitted_line(cells, "level", points=5)
    np.testing.assert_allclose(line.mean, slope["intercept"] + slope["slope"] * line.x, rtol=1e-9)
    means = cells.groupby("level")["performance"].mean()
    fit = sm.OLS(means.to_numpy(), sm.add_constant(means.index.to_numpy())).fit(cov_type="HC2")
    at = sm.add_constant(line.x)
    errors = np.sqrt(np.einsum("ij,jk,ik->i", at, fit.cov_params(), at))  # two cells a level: CR2 is HC2 of the means
    degrees = np.array([series_of(cells).fit(cells["level"].to_numpy()).contrast(row).degrees for row in at])
    reach = errors * stats.t.ppf((1 + math.erf(1 / math.sqrt(2))) / 2, degrees)
    np.testing.assert_allclose(line.high - line.mean, reach, rtol=1e-8)
    np.testing.assert_allclose(line.mean - line.low, reach, rtol=1e-8)


def test_panels_hold_one_side_and_setting_each(analysis):
    found = [(panel.side, panel.setting) for panel in panels(analysis)]
    assert found == [
        (side, f"2,000 · {control}")
        for control in ("unmatched", "length-matched")
        for side in ("instruction", "response")
    ]
    for panel in panels(analysis):
        assert set(panel.cells["side"]) == {panel.side} and set(panel.cells["kind"]) == {"level"}
        assert set(panel.baselines["kind"]) == {"random", "full", "base"}


def test_a_baseline_far_from_the_cells_is_named_and_does_not_flatten_them(tmp_path):
    flat = {("micro_token", "response"): 0.01}
    analysis = analyze_study(
        write_synthetic_study(tmp_path / "flat", **(SMALL | {"slopes": flat}), noise=0.001), draw=False
    )
    panel = panels(analysis)[0]
    span = performance_range(analysis, panel.model)
    within, beyond = baselines_in(panel, span)
    assert span[0] > BASE and "base" not in set(within["kind"])
    assert (False, f"↓ base model {BASE}") in beyond


def test_a_slope_that_regression_cannot_separate_is_marked_and_not_drawn(analysis):
    level = analysis.slopes[analysis.slopes["predictor"] == "level"]
    assert ((level["collinear_length"] > 0.9) == (level["match"] == "none")).all()
    assert set(controls(analysis)["control"]) == {"unmatched", "length-matched"}
    assert [row[4].below for row in controlled(analysis).rows] == ["not separable", ""] * 2


def test_a_slope_that_regression_can_separate_stands_beside_the_raw_one(tmp_path):
    folder = write_synthetic_study(tmp_path / "separable", **(SMALL | {"matches": ("none",), "seeds": (0, 1, 2)}))
    rng = np.random.default_rng(0)
    for path in folder.glob("*/result.json"):
        row = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps(row | {"diversity.response.length": rng.uniform(20, 60)}), encoding="utf-8")
    table = controls(analyze_study(folder, draw=False))
    assert set(table["control"]) == {"unmatched", "unmatched, given length"}


def test_the_terminal_table_fits_eighty_columns_in_the_papers_form(tmp_path):
    analysis = analyze_study(write_synthetic_study(tmp_path / "wide", levels=(0.0, 0.5, 1.0), seeds=(0, 1)), draw=False)
    console = Console(width=80, record=True, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    with console.file:
        console.print(slope_table(analysis))
        text = console.export_text()
    assert "…" not in text and max(map(len, text.splitlines())) <= 80
    grid = slope_grid(analysis)
    assert grid.columns == [
        (side, name) for side in ("instruction", "response") for name in ("macro_topic", "meso_tag", "micro_token")
    ]
    for _, fields in grid.rows:
        assert all(format_signed(100 * row["slope"]) in text for row in fields.values())
    assert text.index("instruction") < text.index("response") and text.index("unmatched") < text.index("length-matched")


def test_slopes_of_one_ladder_are_no_findings(analysis, page):
    level = analysis.slopes[analysis.slopes["predictor"] == "level"]
    outside = int(((level["slope_low"] > 0) | (level["slope_high"] < 0)).sum())
    told = sentences(analysis)
    assert outside > 0 and told[0].startswith(
        f"Too few runs, one ladder: 4 slopes ({outside} with an interval that excludes zero) cannot be findings"
    )
    assert 'class="sure"' not in page


def test_the_findings_count_replicated_slopes_that_leave_out_zero_with_their_unit_and_caveat(tmp_path):
    folder = write_synthetic_study(tmp_path / "replicated", **SMALL | {"seeds": range(4)}, replicated=True)
    analysis = analyze_study(folder, draw=False)
    level = analysis.slopes[analysis.slopes["predictor"] == "level"]
    sure = int(((level["slope_low"] > 0) | (level["slope_high"] < 0)).sum())
    corrected = int((level["slope_p_holm"] < 0.05).sum())
    told = sentences(analysis)
    assert told[0].startswith(f"{sure} of {len(level)} slopes") and "about 0.2 would" in told[0]
    assert f"{corrected} remain" in told[0]
    assert told[1].startswith("micro_token on the response, slope in points of word probability")
    assert "4 ladders" in told[1] and "response length goes with the level" in told[1]
    assert (folder / "report.html").read_text(encoding="utf-8").count('class="sure"') == sure


@pytest.mark.parametrize(
    ("primary", "higher", "unit", "times", "decimals"),
    [
        ("heldout.loss_token", False, "nats per token", 1, 4),
        ("judge.win_rate", True, "points of win rate", 100, 2),
        ("mmlu.acc", True, "points of accuracy", 100, 2),
        ("mmlu.gold_logprob_bytes", True, "nats per byte", 1, 4),
        ("gsm8k.exact_match.strict-match", True, "points of exact match", 100, 2),
        ("wikitext.word_perplexity", False, "units of wikitext.word_perplexity", 1, 4),
    ],
)
def test_slopes_have_the_unit_of_the_score(tmp_path, primary, higher, unit, times, decimals):
    changed = {"primary": primary, "higher_is_better": higher, f"score.{primary}": 0.5}
    folder = write_synthetic_study(tmp_path / "unit", **SMALL, changed=changed)
    found = score_unit(analyze_study(folder, draw=False))
    assert (found.name, found.times, found.decimals) == (unit, times, decimals)
    assert bool(found.direction) == (not higher)
    text = Elements((folder / "report.html").read_text(encoding="utf-8")).text
    assert unit in text and ("points" not in text.replace("400 points", "") or times == 100)


def test_cells_without_a_score_do_not_turn_its_direction(tmp_path):
    folder = write_synthetic_study(tmp_path / "unit", **SMALL)
    path = next(folder.iterdir()) / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"primary": None, "higher_is_better": None}))
    assert score_unit(analyze_study(folder, draw=False)).direction == ""


def test_figures_are_drawn_without_global_state(analysis, tmp_path):
    before = dict(mpl.rcParams)
    assert len(write_figures(analysis, tmp_path)) == 8
    assert dict(mpl.rcParams) == before
    code = (
        "import sys, sftdiv.analyze; "
        "sys.exit('matplotlib.pyplot' in sys.modules or 'hydra' in sys.modules or 'torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_svg_files_are_well_formed_and_undated(study, analysis):
    for path in (study / "figures").glob("*.svg"):
        assert "date" not in {element.tag.rpartition("}")[2] for element in ET.parse(path).iter()}


def test_the_command_explains_itself_and_refuses_what_is_no_study(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0 and "report.html" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="there is no study folder"):
        main([str(tmp_path / "nowhere")])


@pytest.mark.parametrize("module", ["sftdiv.analyze", "sftdiv.paired"])
def test_two_cells_are_compared_by_a_subcommand_and_by_its_old_name(module, tmp_path):
    old = module == "sftdiv.paired"
    shown = [
        subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True, check=False)
        for arguments in (
            [*([] if old else ["pair"]), "--help"],
            [*([] if old else ["pair"]), str(tmp_path), str(tmp_path)],
        )
    ]
    usage = "python -m sftdiv.analyze pair [-h] [--task NAME] [--json] CELL_A CELL_B"
    assert shown[0].returncode == 0 and usage in shown[0].stdout
    assert shown[1].returncode == 1 and shown[1].stderr.startswith("sftdiv: ")


def test_the_command_prints_the_table_and_where_the_report_is(study, capsys):
    main([str(study), "--no-figures"])
    told = capsys.readouterr().out
    assert (
        "performance against diversity level" in " ".join(told.split()) and f"report: {study / 'report.html'}" in told
    )
    assert "failed cells: 1" in told


def test_two_corpora_in_one_folder_are_two_lines(tmp_path):
    folder = write_synthetic_study(tmp_path / "mixed", **(SMALL | {"matches": ("none",)}), baselines=False)
    for row in analyze_study(folder, draw=False).study.cells.to_dict("records"):
        kept = {
            key: value
            for key, value in row.items()
            if key not in ("performance", "k_share", "unit_entropy", "ladder", "variant")
        }
        write_cell(folder, kept | {"cell": f"other-{row['cell']}", "corpus_hash": "another"})
    analysis = analyze_study(folder, draw=False)
    assert len(slope_grid(analysis).rows) == 2 and len(panels(analysis)) == 4
    assert re.search("corpus_hash=another", Elements((folder / "report.html").read_text(encoding="utf-8")).text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.28, "0.28"),
        (12345.6, "12,346"),
        (999.6, "1,000"),
        (3.0, "3"),
        (-0.5, f"{MINUS}0.5"),
        (float("nan"), "—"),
        (float("inf"), "inf"),
        (None, "—"),
        (1e-7, f"1e{MINUS}07"),
    ],
)
def test_numbers_as_text(value, text):
    assert format_number(value, 3) == text


def test_numbers_that_line_up():
    assert format_number(0.28, 3, padded=True) == "0.280"
    assert format_signed(-2.345) == f"{MINUS}2.35" or format_signed(-2.345) == f"{MINUS}2.34"
    assert format_interval(-1, 2) == f"[{MINUS}1.00,\u00a0+2.00]" and format_interval(None, 2.0) == "—"
    assert [format_share(value) for value in (0.5, 0.999, 1.0, 0.001, 0.0)] == [
        "0.50",
        "> 0.99",
        "1.00",
        "< 0.01",
        "0.00",
    ]


def test_styles_differ_in_colour_marker_and_dash():
    looks = styles(["micro", "macro", "meso", "micro"])
    assert list(looks) == ["macro", "meso", "micro"]
    for part in ("colour", "marker", "line", "symbol", "dash"):
        assert len({getattr(look, part) for look in looks.values()}) == 3


def test_the_published_slopes_and_the_deviations_are_shown_where_they_are_asked_for(study, page, tmp_path, capsys):
    assert 'id="reference"' not in page
    main([str(study), "--out", str(tmp_path / "out"), "--no-figures", "--reference", "paper"])
    shown = Elements((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
    ids = {attributes.get("id") for _, attributes in shown.found}
    assert {"reference", "paper-chart", "paper-slopes", "protocol", "paper-ablations"} <= ids
    assert "levels: 0; 1/4; 1/2; 1 (the paper: 0, 1/6, 1/3, 1/2, 2/3, 5/6, 1)" in shown.text
    assert "-m sftdiv.analyze multirun/small --reference paper" in shown.text  # the page says how it is made
