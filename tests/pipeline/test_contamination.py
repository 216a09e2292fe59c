"""Contamination in a run: what the corpus and each subset share with scored items, and scores on the clean ones."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from warm_process import run_program

from sftdiv.config.from_python import compose_run
from sftdiv.pipeline import contamination, stages
from sftdiv.pipeline.run_artifacts import RunArtifacts
from sftdiv.records import SftdivError
from sftdiv.storage.cache import Store

ROWS = 60
TASK = """\
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {rows}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{text}"
doc_to_choice: choices
doc_to_target: gold
num_fewshot: 0
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
metadata: {{version: 1}}
{more}
"""


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def words_of(row):
    return " ".join(f"{letter}{row}" for letter in "abcdefghij")


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Pairs with ten words of their own each; a task whose items 0 and 2 repeat rows 5 and 7, and 1 repeats none."""
    monkeypatch.chdir(tmp_path)
    rows = [
        {"instruction": words_of(row), "output": f"yes r{row} q{row}", "source": f"s{row % 2}"} for row in range(ROWS)
    ]
    write_rows(tmp_path / "pairs.jsonl", rows)
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    items = [words_of(5).upper() + "!", words_of(99), "Read: " + words_of(7)]
    docs = [{"question": text, "hint": "x", "choices": ["yes", "no"], "gold": 0} for text in items]
    write_rows(tasks / "rivers.jsonl", docs)
    (tasks / "rivers.yaml").write_text(
        TASK.format(name="rivers", rows=tasks / "rivers.jsonl", text="{{question}}", more="")
    )
    query = 'should_decontaminate: true\ndoc_to_decontamination_query: "{{hint}} {{question}}"'
    (tasks / "hidden.yaml").write_text(
        TASK.format(name="hidden", rows=tasks / "rivers.jsonl", text="Guess.", more=query)
    )
    return tmp_path


def artifacts_of(folder, *overrides):
    settings = [
        "corpus=files", f"corpus.path={folder}/pairs.jsonl", "corpus.heldout=0", "corpus.band.low=1", "embedder=none",
        "strategy=micro_token", "strategy.side=response", "strategy.tokenizer=words", "size.n=4", "stop_after=select",
    ]  # fmt: skip
    request = compose_run([*settings, *overrides])
    return RunArtifacts(request.spec, Store(folder / "cache"))


CUSTOM = ["eval=custom", "eval.tasks=[rivers,hidden]"]


def custom(folder):
    return [*CUSTOM, f"eval.include_path={folder}/tasks", "eval.primary=rivers.acc"]


def test_what_the_corpus_shares_with_each_task(data):
    artifacts = artifacts_of(data, *custom(data), "corpus.decontaminate=report")
    columns = contamination.corpus_columns(artifacts.data)["corpus"]
    assert columns == {
        "contaminated": {"rivers": 2, "hidden": 2},
        "contaminated_items": {"rivers": 2, "hidden": 2},
        "benchmark_items": {"rivers": 3, "hidden": 3},
    }
    assert len(artifacts.data.corpus) == ROWS
    contamination.report(artifacts.data, data)
    written = json.loads((data / "contamination.json").read_text())
    assert written["action"] == "report" and written["rivers"]["by_source"] == {"s1": 2}
    assert sorted(pair["item"] for pair in written["hidden"]["shown"]) == [0, 2]
    instructions = artifacts.data.corpus.column("instruction")
    of_five = [instructions.index(words_of(row)) for row in (5, 6)]
    assert contamination.leak_columns(artifacts.data, np.array(of_five)) == {"leak": {"rivers": 1, "hidden": 1}}


def test_dropped_examples_leave_no_leak_and_are_counted(data):
    kept = artifacts_of(data, *custom(data), "corpus.decontaminate=report")
    artifacts = artifacts_of(data, *custom(data), "corpus.decontaminate=drop")
    assert len(artifacts.data.corpus) == ROWS - 2 and artifacts.data.corpus.counts["contaminated"] == 2
    assert contamination.corpus_columns(artifacts.data)["corpus"]["contaminated"] == {"rivers": 2, "hidden": 2}
    assert contamination.leak_columns(artifacts.data, np.arange(ROWS - 2)) == {"leak": {"rivers": 0, "hidden": 0}}
    assert kept.spec.corpus.identity() != artifacts.spec.corpus.identity()


def test_by_default_items_from_outside_are_reported_and_nothing_else_is_searched(data):
    settings = [f"corpus.path={data}/pairs.jsonl", "corpus=files", "embedder=none"]
    searched = compose_run([*settings, *custom(data)]).spec
    assert searched.corpus.decontamination.is_searched and not searched.corpus.decontamination.drops
    assert "decontamination" not in searched.corpus.identity()  # the default renames no cell
    for overrides in (["eval=heldout"], [*custom(data), "corpus.decontaminate=none"]):
        assert not compose_run([*settings, *overrides]).spec.corpus.decontamination.is_searched
    assert not compose_run([]).spec.corpus.decontamination.is_searched  # the synthetic corpus's own questions
    assert compose_run(["corpus.decontaminate=report"]).spec.corpus.decontamination.is_searched


def test_files_are_searched_for_without_any_evaluation(data):
    write_rows(data / "questions.jsonl", [{"question": words_of(3)}, {"question": words_of(98)}])
    write_rows(data / "chats.jsonl", [{"turns": [words_of(4), "And then?"]}, {"instruction": words_of(8), "input": ""}])
    pq.write_table(pa.table({"problem": [words_of(9)]}), data / "problems.parquet")
    files = f"corpus.contamination.files=[{data}/questions.jsonl,{data}/chats.jsonl,{data}/problems.parquet]"
    artifacts = artifacts_of(data, "eval=none", files)
    columns = contamination.corpus_columns(artifacts.data)["corpus"]
    assert columns["contaminated"] == {"questions": 1, "chats": 2, "problems": 1}
    write_rows(data / "wrong.jsonl", [{"answer": "x"}])
    wrong = artifacts_of(data, "eval=none", f"corpus.contamination.files=[{data}/wrong.jsonl]")
    with pytest.raises(SftdivError, match="entry 1 has no text of an item in its keys answer; known: messages"):
        contamination.corpus_columns(wrong.data)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["eval=heldout", "corpus.decontaminate=drop"], "has no items to search for"),
        (["eval=none", "corpus.decontaminate=remove"], "corpus.decontaminate='remove' is unknown"),
        (["eval=none", "corpus.contamination.files=x.jsonl"], r"must be a list: \[x.jsonl\]"),
        (["eval=none", "corpus.contamination.files=[a/x.jsonl,b/x.jsonl]"], "several files named x"),
        (["corpus.ood=[nowhere]", "eval=none"], "corpus.ood names nowhere; the corpus has the sources: s0, s1"),
        (["corpus.ood=[s0,s1]", "eval=none"], "names all sources"),
        (["corpus.ood=s0", "eval=none"], r"must be a list of sources: corpus.ood=\[s0\]"),
        (["corpus.heldout_by=rows", "eval=none"], "corpus.heldout_by='rows' is unknown"),
    ],
)
def test_what_cannot_be_is_refused(data, overrides, message):
    with pytest.raises(SftdivError, match=message):
        len(artifacts_of(data, *overrides).data.corpus)


def test_sources_left_out_are_never_trained_on(data):
    artifacts = artifacts_of(data, "eval=none", "corpus.ood=[s0]", "corpus.heldout=3", "corpus.ood_size=10")
    sources = artifacts.data.corpus.column("source")
    units = artifacts.data.units(artifacts.spec.strategy)
    universe = stages.find_universe(artifacts.spec, artifacts, units)
    assert {sources[row] for row in universe.indices} == {"s1"} and universe.counts["ood"] == ROWS // 2
    assert set(artifacts.data.ood().sources) == {"s0"} and len(artifacts.data.ood().messages) == 10
    assert set(artifacts.data.heldout().sources) == {"s1"} and len(artifacts.data.heldout().messages) == 1  # 5 % of 30
    assert not (artifacts.read_by_base & artifacts.data.untrained["ood"]).any()


def test_near_duplicate_instructions_are_held_out_together(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [
        {"instruction": f"{words_of(row)} please answer {end}", "output": f"o{row} {end}"}
        for row in range(ROWS)
        for end in ("now", "later")
    ]
    write_rows(tmp_path / "pairs.jsonl", rows)

    def divided(split):
        """Number of held-out instructions with a near copy that is not held out."""
        corpus = artifacts_of(tmp_path, "eval=none", "corpus.heldout=6", f"corpus.heldout_by={split}").data.corpus
        held = {text.rpartition(" ")[0]: set() for text in corpus.column("instruction")}
        for text, mask in zip(corpus.column("instruction"), corpus.column("heldout"), strict=True):
            held[text.rpartition(" ")[0]].add(mask)
        assert sum(corpus.column("heldout")) == 6
        return sum(len(masks) > 1 for masks in held.values())

    assert divided("near") == 0
    assert divided("instruction") > 0


def test_scores_on_clean_items_stand_beside_all(data):
    """One run to its end: two of three items of the task are told in the corpus."""
    done = run_program(
        "sftdiv.run", "corpus=files", f"corpus.path={data}/pairs.jsonl", "corpus.heldout=0", "embedder=none",
        *custom(data),
        "size.n=0", "model=scratch_3m", "model.pretrain.steps=1", "tracking=none", "samples=0", "strategy=random",
        f"paths.cache={data}/cache", cwd=data, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    (result,) = Path(data).glob("outputs/*/*/result.json")
    row = json.loads(result.read_text())
    samples = pq.read_table(result.parent / "evaluation" / "custom" / "rivers.parquet").to_pylist()
    assert row["score.rivers.acc"] == pytest.approx(sum(item["metric.acc"] for item in samples) / 3)
    assert row["score.rivers.acc.clean"] == next(item["metric.acc"] for item in samples if item["item"] == 1)
    assert row["corpus.contaminated.rivers"] == 2
    assert "2 examples share text with 2 of 3 items of rivers" in done.stderr


def test_measure_names_what_a_dataset_shares_with_items(data):
    write_rows(data / "questions.jsonl", [{"question": words_of(row).upper()} for row in (3, 4, 99)])
    done = run_program(
        "sftdiv.measure", "corpus=files", f"corpus.path={data}/pairs.jsonl", "metrics=[length]", "near_duplicates=null",
        "corpus.contamination.files=[questions.jsonl]", "units={micro_token: null, meso_tag: null, macro_topic: null}",
        f"paths.cache={data}/cache", cwd=data,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "2 examples share text with 2 of 3 items of questions" in " ".join(done.stdout.split())
    (report,) = data.glob("outputs/measure/*/measure.json")
    found = json.loads(report.read_text())["datasets"][0]["contamination"]["questions"]
    assert found["by_source"] == {"s0": 1, "s1": 1} and len(found["shown"]) == 2
