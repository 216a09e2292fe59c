"""``report/``: from the report to each cell's scores, answers, verdicts and examples, on files as a run writes them."""

import json
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from synthetic_study import write_synthetic_study

from sftdiv.pipeline.analyze_study import analyze_study
from sftdiv.pipeline.write_bundle import BUNDLE, EXAMPLES

HOSTILE = "<script>window.hacked=1</script>"


def add_texts(cell, *, examples=300):
    """The files of a cell that texts come from; nine of ten examples are of the source ``large``."""
    numbers = range(examples)
    subset = {
        "id": [f"id-{number}" for number in numbers],
        "source": ["small" if number % 10 == 0 else "large" for number in numbers],
        "instruction": [f"Question {number} {HOSTILE}" for number in numbers],
        "response": [f"Answer {number}" for number in numbers],
    }
    pq.write_table(pa.table(subset), cell / "subset.parquet")
    samples = [
        {
            "id": f"h{n}",
            "source": source,
            "instruction": f"Prompt {n}",
            "reference": "R\u2028\x85",
            "response": f"{cell.name}:{n}",
        }
        for n, source in enumerate(("large", "small"))
    ]
    (cell / "samples.jsonl").write_text("".join(json.dumps(sample, ensure_ascii=False) + "\n" for sample in samples))
    verdict = {
        "instruction": "Prompt 0", "dataset": "large", "output_1": "of the baseline", "generator_1": "base-1",
        "output_2": "of the cell", "generator_2": cell.name, "annotator": "judge-1 (plain)", "preference": 1.75,
    }  # fmt: skip
    (cell / "evaluation" / "judge").mkdir(parents=True)
    (cell / "evaluation" / "judge" / "annotations.json").write_text(json.dumps([verdict]))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = write_synthetic_study(
        tmp_path_factory.mktemp("studies") / "a study",
        slopes={("micro_token", "response"): 0.08}, levels=(0.0, 1.0), seeds=(0,), matches=("none",), failures=0,
    )  # fmt: skip
    for result in folder.glob("*/result.json"):
        if json.loads(result.read_text())["kind"] != "base":
            add_texts(result.parent)
        else:
            lines = [{"id": "h0", "source": "large", "instruction": "Prompt 0", "reference": "R", "response": "before"}]
            (result.parent / "samples.jsonl").write_text(json.dumps(lines[0]) + "\n")
    analyze_study(folder, draw=False, bundle=True)
    return folder


def cell_of(study, kind):
    (name,) = [path.parent for path in study.glob("*/result.json") if json.loads(path.read_text())["kind"] == kind]
    return name


def page_of(study, cell):
    return (study / BUNDLE.parent / "cells" / f"{cell.name}.html").read_text()


def links(page, folder):
    """Local files that a page links to."""
    from urllib.parse import unquote

    return [(folder / unquote(href)).resolve() for href in re.findall(r'href="([^"#]+)', page) if ":" not in href]


def test_every_link_of_every_page_leads_to_a_file(study):
    pages = [*(study / BUNDLE.parent).rglob("*.html")]
    assert len(pages) == 2 + len([*study.glob("*/result.json")])
    for page in pages:
        found = links(page.read_text(), page.parent)
        assert found and all(path.exists() for path in found)
    index = (study / BUNDLE).read_text()
    assert all(f"cells/{cell.parent.name}.html" in index for cell in study.glob("*/result.json"))


def test_a_page_has_scores_answers_before_and_after_verdicts_and_examples(study):
    cell = cell_of(study, "full")
    page = page_of(study, cell)
    assert "word_probability <strong>(primary)</strong>" in page
    assert f"{cell.name}:0" in page and 'untrained model</h3><p class="text">before' in page
    assert "Preferred: this cell, 75%" in page and "of the baseline" in page and "judge-1 (plain)" in page
    assert page.count('data-list="example"') == EXAMPLES
    small = len(re.findall(r'data-list="example" data-source="small"', page))
    assert 9 <= small <= 11  # a tenth, as in the subset
    assert HOSTILE not in page and "&lt;script&gt;" in page


def test_answers_of_all_cells_stand_beside_each_other(study):
    page = (study / BUNDLE.parent / "answers.html").read_text()
    assert page.count('data-list="prompt"') == 2
    first = page.split("Prompt 0")[1].split("Prompt 1")[0]
    cells = [path.parent.name for path in study.glob("*/result.json")]
    assert all(f"cells/{cell}.html" in first for cell in cells)
    assert "micro_token · response · level 0 · seed 0" in first and "untrained model" in first


def test_a_damaged_file_leaves_its_section_empty_and_a_removed_cell_its_page(tmp_path, caplog):
    from sftdiv.storage.cell import write_result

    folder = write_synthetic_study(
        tmp_path / "study", slopes={("micro_token", "response"): 0.08}, levels=(0.0, 1.0), seeds=(0, 1),
        matches=("none",), failures=0, baselines=False,
    )  # fmt: skip
    cells = [path.parent for path in sorted(folder.glob("*/result.json"))]
    for cell in cells:
        add_texts(cell)
        write_result(cell, json.loads((cell / "result.json").read_text()))  # with the digests of the files
    (cells[0] / "samples.jsonl").write_text("{}\n")
    analyze_study(folder, draw=False, bundle=True)
    assert "samples.jsonl is damaged" in caplog.text and "This cell has no answers" in page_of(folder, cells[0])
    assert f"{cells[1].name}:0" in page_of(folder, cells[1])
    (cells[3] / "result.json").unlink()
    analyze_study(folder, draw=False)  # a bundle that exists is written again
    assert not (folder / BUNDLE.parent / "cells" / f"{cells[3].name}.html").exists()
    assert cells[3].name not in (folder / BUNDLE).read_text()
