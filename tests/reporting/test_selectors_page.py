"""The section of the study page that compares selectors, from a made-up study."""

import re

import pandas as pd
import pytest
from selector_study import write_selector_study

from sftdiv.pipeline.analyze_study import analyze_study
from sftdiv.reporting.study.selector_tables import compared, scores, sentences


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_selector_study(tmp_path_factory.mktemp("studies") / "made_up")


@pytest.fixture(scope="module")
def analysis(study):
    return analyze_study(study)


def test_the_page_compares_the_selectors_before_the_shape_of_ladders(study, analysis):
    page = (study / "report.html").read_text(encoding="utf-8")
    assert page.index('id="performance"') < page.index('id="selectors-compared"') < page.index('id="shape"')
    assert '<a href="#selectors-compared">Selectors</a>' in page
    assert page.count('id="selector-overlap-') == 2 and 'src="data:image/svg+xml;base64,' in page
    rows = re.search(r'<table id="selectors">.*?</table>', page, re.DOTALL)[0].split("<tr>")[2:]
    names = [re.sub("<.*?>", " ", row).split("  ")[0].strip() for row in rows]
    assert [name.split()[0] for name in names] == 2 * ["longest", "k_center", "micro_token,", "random"]


def test_numbers_of_the_table_are_points(analysis):
    view = scores(analysis)
    row = dict(zip([column.title.split(",")[0] for column in view.columns], view.rows[0], strict=True))
    assert row["less random"].text == "+20.00 ± 0.58" and row["less random"].below == "[+17.52,\u00a0+22.48]"
    assert row["seconds"].text == "10" and row["GPU seconds"].text == "0"


def test_the_sentences_count_intervals_and_name_the_extremes(analysis):
    text = sentences(analysis)
    assert text[0].startswith("Unmatched, 3 selectors: 1 above and 0 below random draws")
    assert text[2].startswith("Highest: longest, unmatched: +20.00") and "Lowest: micro_token, level 1" in text[2]
    assert "explains" in text[3]


def test_the_files_of_the_comparison(study, analysis):
    table = pd.read_csv(study / "selectors.csv")
    assert list(table["selector"]) == 2 * ["longest", "k_center", "micro_token, level 1", "random"]
    assert not {"select_seconds", "gpu_seconds"} & set(table.columns)  # they measure the machine
    assert (study / "figures" / "selector_differences.png").exists()
    assert compared(analysis)["figure"]
