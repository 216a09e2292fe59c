"""The worked examples of the developer guide run as they stand: their files are written, and their command is run."""

import json
import os

import pyarrow.parquet as pq
import pytest
from documentation import ROOT, blocks
from small_runs import environment, paths
from warm_process import run_program

VERBS = ("Write", "List", "Explain", "Name", "Compare")


@pytest.fixture
def run_example(tmp_path):
    """Writes the files of a page and runs its command; gives the cell's row and folder, and what was printed."""
    rows = [
        {
            "instruction": f"{VERBS[i % 5]} {i} things{'?' if i % 4 == 0 else '.'}",
            "output": " ".join(f"thing{j}" for j in range(1 + i % 9)),
        }
        for i in range(300)
    ]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def run(page):
        found = blocks(ROOT / "docs" / "developer" / f"{page}.md")
        for block in found:
            if block.title:
                (tmp_path / block.title).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / block.title).write_text(block.text)
        (words,) = next(block for block in found if block.language == "bash").commands()
        assert words[:2] == ["python", "-m"], words
        variables = {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]])}
        done = run_program(words[2], *words[3:], *paths(tmp_path), cwd=tmp_path, env=environment(**variables))
        assert done.returncode == 0, done.stderr[-3000:]
        (cell,) = (path for path in (tmp_path / "outputs" / "single").iterdir() if path.is_dir())
        return json.loads((cell / "result.json").read_text()), cell, done

    return run


def test_the_strategy_counts_first_words(run_example):
    row, cell, _ = run_example("strategy")
    assert (row["strategy"], row["units.finder"], row["n"]) == ("first_word", "first_words", 50)
    assert row["k_max"] == len(VERBS) and 1 <= row["k_reached"] < len(VERBS)  # level 0.5
    instructions = pq.read_table(cell / "subset.parquet").column("instruction").to_pylist()
    assert len({text.split()[0] for text in instructions}) == row["k_reached"]


def test_the_selector_takes_the_shortest_responses_that_are_long_enough(run_example):
    row, cell, _ = run_example("selector")
    lengths = [len(text.split()) for text in pq.read_table(cell / "subset.parquet").column("response").to_pylist()]
    assert (row["kind"], row["selector"], row["n"]) == ("selector", "shortest", 50)
    assert min(lengths) == 3 and max(lengths) == 4  # 34 responses have three words, and as many four
    assert sorted(lengths) == lengths
    assert (cell / "export" / f"{cell.name}.jsonl").exists()


def test_the_tracker_writes_the_run(run_example, tmp_path):
    row, _, _ = run_example("tracker")
    records = [json.loads(line) for line in (tmp_path / "outputs" / "single" / "runs.jsonl").read_text().splitlines()]
    assert records[-1] == {"run": row["cell"], "status": "success"}
    assert records[-2]["row"]["n"] == 50


def test_the_evaluator_scores_the_base_model(run_example):
    row, _, _ = run_example("evaluator")
    assert row["primary"] == "answer_length.words"
    assert 0 <= row["score.answer_length.words"] <= 12 and row["score.answer_length.words.stderr"] >= 0


def test_the_metric_is_measured_once_its_module_is_imported(run_example, tmp_path, monkeypatch, capsys):
    found = blocks(ROOT / "docs" / "developer" / "metric.md")
    for block in found:
        if block.title:
            (tmp_path / block.title).write_text(block.text)
    (words,) = next(block for block in found if block.language == "bash").commands()
    script = (tmp_path / words[1]).read_text()
    variables = {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]])}
    from warm_process import run_code

    done = run_code(script, cwd=tmp_path, env=environment(SFTDIV_CACHE=str(tmp_path / "cache"), **variables))
    assert done.returncode == 0, done.stderr[-3000:]
    assert float(done.stdout.split()[-1]) == 0.25
