"""The whole way on a small embedded world, as a user types it: which files come out, what a rerun does,
what a kill leaves."""

import json
import shutil
import signal

import pyarrow.parquet as pq
import pytest
import torch
from small_runs import environment, finished_run, only_cell, row_of, run_cold, run_small, start_small, warm_cache
from warm_process import DEVNULL, PIPE, run_program

STAGES = {  # stage -> artifacts that it makes
    "corpus": ["corpus"],
    "units": ["units"],
    "select": ["ladders"],
    "diversity": ["embeddings", "token_ids"],
    "base": ["base"],
    "train": [],
    "evaluate": [],
    "generate": [],
}


@pytest.fixture(scope="module")
def finished():
    """A finished run; it was made from an empty cache in a new interpreter."""
    return finished_run()


@pytest.fixture
def warm(tmp_path):
    """A folder with a copy of the finished run's artifacts."""
    return warm_cache(tmp_path)


def test_a_full_run_leaves_exactly_these_files(finished):
    cell = only_cell(finished)
    assert sorted(path.name for path in cell.iterdir() if path.name != ".lock") == [
        "config.yaml",
        "evaluation",
        "model",
        "preview.txt",
        "result.json",
        "samples.jsonl",
        "subset.parquet",
    ]
    assert [
        path.relative_to(cell / "evaluation").as_posix() for path in sorted((cell / "evaluation").rglob("*.*"))
    ] == [".scores.json", *(f"embedded/sftdiv_embedded_{kind}.parquet" for kind in ("gen", "mc"))]
    assert {path.name for path in (cell / "model").iterdir()} == {
        ".digests.json",
        "README.md",
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "train.json",
    }


def test_the_row_is_flat_and_agrees_with_the_subset(finished):
    cell = only_cell(finished)
    row = row_of(cell)
    assert not [value for value in row.values() if isinstance(value, dict)]
    assert row["cell"] == cell.name
    subset = pq.read_table(cell / "subset.parquet")
    assert subset.num_rows == row["n"] == 150 == len(set(subset.column("id").to_pylist()))
    assert not any(subset.column("heldout").to_pylist())
    assert row["k_min"] <= row["k_asked"] <= row["k_max"] and row["k_reached"] <= row["k_asked"]
    assert f"score.{row['primary']}" in row and f"score.{row['primary']}.stderr" in row
    assert row["train.label_tokens"] > 0 and row["diversity.response.entropy"] > 1
    assert row["k_asked"] == round(row["k_min"] + 0.8 * (row["k_max"] - row["k_min"]))
    assert cell.name in (finished / "stdout").read_text()


def test_the_same_command_again_skips(finished):
    before = (only_cell(finished) / "result.json").stat().st_mtime_ns
    again = run_cold(
        finished, code="import sys; from sftdiv.run import main; main(); assert 'torch' not in sys.modules"
    )
    assert again.returncode == 0, again.stderr
    assert "finished earlier" in again.stdout
    assert (only_cell(finished) / "result.json").stat().st_mtime_ns == before


def test_a_finished_cell_is_exported_without_running_again(finished, tmp_path):
    from sftdiv.release.export.lineage import verify_export

    cell = only_cell(finished)
    before = (cell / "result.json").stat().st_mtime_ns
    again = run_small(finished, "export.format=messages", f"export.folder={tmp_path}", "export.name=mine")
    assert again.returncode == 0, again.stderr
    assert (cell / "result.json").stat().st_mtime_ns == before
    assert [path.name for path in verify_export(tmp_path)] == ["mine.jsonl"]
    flags = ["--format", "alpaca", "--folder", str(tmp_path / "alpaca")]
    exported = run_program("sftdiv", "export", str(only_cell(finished)), *flags, env=environment())
    assert exported.returncode == 0, exported.stderr
    data = exported.stdout.splitlines()[0]
    assert [str(path) for path in verify_export(tmp_path / "alpaca")] == [data]
    subset = pq.read_table(cell / "subset.parquet")
    written = [json.loads(line)["messages"] for line in (tmp_path / "mine.jsonl").read_text().splitlines()]
    assert written == subset.column("messages").to_pylist()
    lineage = json.loads((tmp_path / "lineage.json").read_text())["mine"]
    assert lineage["ids"] == subset.column("id").to_pylist()
    assert lineage["corpus"]["fingerprint"] == row_of(cell)["corpus_hash"] and lineage["tokenizer"]["files"]
    assert json.loads((tmp_path / "dataset_info.json").read_text())["mine"]["file_name"] == "mine.jsonl"


def test_w_and_b_was_offline_and_its_run_is_named_by_the_cell(finished):
    runs = list((finished / "outputs" / "single" / "wandb").glob("offline-run-*"))
    assert len(runs) == 1
    assert list(runs[0].glob("run-*.wandb"))


def test_a_changed_setting_gets_another_folder_and_the_saved_model_generates(finished, warm):
    shutil.copytree(finished / "outputs", warm / "outputs")
    other = run_small(warm, "selection.slack=1.4", "stop_after=select", "study=other", "tracking=none")
    assert other.returncode == 0, other.stderr[-3000:]
    assert only_cell(warm, "other").name != only_cell(warm).name
    samples = [json.loads(line) for line in (only_cell(warm) / "samples.jsonl").read_text().splitlines()]
    assert len(samples) == 3 and all(set(sample) >= {"instruction", "reference", "response"} for sample in samples)


# The other stages resume as these do, from the artifacts that are whole: killed there, they are second proofs.
FAST_STAGES = ("select", "train", "evaluate")


@pytest.mark.parametrize(
    "stage", [stage if stage in FAST_STAGES else pytest.param(stage, marks=pytest.mark.nightly) for stage in STAGES]
)
def test_a_killed_run_resumes_to_the_same_numbers(finished, tmp_path, stage):
    """W&B runs along where it is killed in training; its own resuming is shown by `tests/tracking`."""
    tracking = [] if stage == "train" else ["tracking=none"]
    warm_cache(tmp_path, without=STAGES[stage])
    with start_small(tmp_path, *tracking, stderr=PIPE, stdout=DEVNULL) as process:
        for line in process.stderr:
            if line.rstrip().endswith(f": {stage}"):
                break
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not (only_cell(tmp_path) / "result.json").exists()
    resumed = run_small(tmp_path, *tracking)
    assert resumed.returncode == 0, resumed.stderr[-3000:]
    assert row_of(only_cell(tmp_path)) == row_of(only_cell(finished))


def test_a_failure_says_where_and_keeps_the_traceback(warm):
    failed = run_small(warm, "size.n=1400")
    assert failed.returncode == 1
    assert "slack x size" in failed.stderr and "largest feasible size" in failed.stderr
    assert "Traceback" not in failed.stderr
    failure = json.loads((only_cell(warm) / "failure.json").read_text())
    assert failure["stage"] == "select"
    assert "largest feasible size" in failure["message"] and "Traceback" in failure["traceback"]
    assert not (only_cell(warm) / "result.json").exists()


def test_a_sweep_leaves_a_cell_a_combination(warm):
    swept = run_small(
        warm,
        "-m",
        "stop_after=select",
        "tracking=none",
        "diversity_level=0,1",
        "strategy.side=instruction,response",
        "study=sweep",
    )
    assert swept.returncode == 0, swept.stderr[-3000:]
    rows = [json.loads(path.read_text()) for path in (warm / "multirun" / "sweep").glob("*/result.json")]
    assert {(row["side"], row["level"]) for row in rows} == {
        (side, level) for side in ("instruction", "response") for level in (0, 1)
    }
    assert all(row["k_asked"] == (row["k_min"] if row["level"] == 0 else row["k_max"]) for row in rows)


def test_a_budget_of_label_tokens_decides_what_is_learned(warm):
    done = run_small(warm, "size.label_tokens=4000", "tracking=none", "eval=none", "samples=0")
    assert done.returncode == 0, done.stderr[-3000:]
    row = row_of(only_cell(warm))
    assert row["cell"].startswith("micro_token-response-t4000-")
    assert 4000 <= row["train.label_tokens"] < 4000 + 200


def test_custom_tasks_are_loaded_before_training_and_scored_after(tmp_path):
    questions = [{"question": f"Is {i} even?", "choices": ["yes", "no"], "answer": i % 2} for i in range(12)]
    (tmp_path / "even.jsonl").write_text("".join(json.dumps(each) + "\n" for each in questions))
    task = f"""
task: even
dataset_path: json
dataset_kwargs: {{data_files: {{test: {tmp_path}/even.jsonl}}}}
test_split: test
output_type: multiple_choice
doc_to_text: question
doc_to_choice: choices
doc_to_target: answer
metric_list: [{{metric: acc}}]
"""
    warm_cache(tmp_path, without=["base"])
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "even.yaml").write_text(task)
    custom = ["eval=custom", f"eval.include_path={tmp_path}/tasks", "tracking=none", "samples=0"]
    wrong = run_small(tmp_path, *custom, "eval.tasks=[evn]", "eval.primary=even.acc")
    assert wrong.returncode == 1 and "Did you mean 'even'?" in wrong.stderr
    wrong = run_small(tmp_path, *custom, "eval.tasks=[even]", "eval.primary=even.accuracy")
    assert wrong.returncode == 1 and "eval.primary='even.accuracy' is not among the scores: even.acc" in wrong.stderr
    assert not (tmp_path / "cache" / "base").exists()
    done = run_small(tmp_path, *custom, "eval.tasks=[even]", "eval.primary=even.acc")
    assert done.returncode == 0, done.stderr[-3000:]
    cell = next(path.parent for path in (tmp_path / "outputs").rglob("result.json"))
    assert 0 <= row_of(cell)["score.even.acc"] <= 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_an_error_before_the_corpus_is_read(tmp_path):
    refused = run_small(tmp_path, "trainer=gpu", "tracking=none")
    assert refused.returncode == 1 and "torch finds no GPU here; use trainer=cpu" in refused.stderr
    assert not (tmp_path / "cache" / "corpus").exists()
