"""The whole way on a small embedded world, as a user types it: which files come out, what a rerun does, what a kill leaves."""

import json
import os
import signal
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

pytestmark = pytest.mark.slow

SMALL = [
    "corpus.samples=1500",
    "corpus.heldout=60",
    "size.n=150",
    "corpus.band.low=3",
    "corpus.band.high=400",
    "model.pretrain.steps=30",
    "samples=3",
]
SMALL += ["model.finetune.epochs=1", "strategy=micro_token", "diversity_level=0.8"]
COST = ("time.", "speed.", "memory.")


def command(folder, *overrides):
    paths = [f"paths.outputs={folder}/outputs", f"paths.multirun={folder}/multirun", f"paths.cache={folder}/cache"]
    flags = [each for each in overrides if each.startswith("-")]
    settings = [each for each in overrides if not each.startswith("-")]
    scored = [] if any(each.startswith("eval=") for each in overrides) else ["eval.limit=40"]
    return [sys.executable, "-m", "sftdiv.run", *flags, *SMALL, *scored, *paths, *settings]


def environment():
    """Without the W&B service that another test may have left to inherit: a killed run would live on in it."""
    return {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"} | {"COLUMNS": "160"}


def sftdiv(folder, *overrides):
    return subprocess.run(command(folder, *overrides), capture_output=True, text=True, check=False, env=environment())


def only_cell(folder, study="single"):
    cells = list((folder / "outputs" / study).glob("micro_token-*"))
    assert len(cells) == 1
    return cells[0]


def row_of(cell):
    return {
        key: value for key, value in json.loads((cell / "result.json").read_text()).items() if not key.startswith(COST)
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    done = sftdiv(folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, done


def test_a_full_run_leaves_exactly_these_files(finished):
    folder, _ = finished
    cell = only_cell(folder)
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
    ] == [f"embedded/sftdiv_embedded_{kind}.parquet" for kind in ("gen", "mc")]
    assert {path.name for path in (cell / "model").iterdir()} == {
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
    folder, done = finished
    cell = only_cell(folder)
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
    assert cell.name in done.stdout


def test_the_same_command_again_skips(finished):
    folder, _ = finished
    before = (only_cell(folder) / "result.json").stat().st_mtime_ns
    program = (
        "import sys; sys.argv = sys.argv[1:]; from sftdiv.run import main; main(); assert 'torch' not in sys.modules"
    )
    again = subprocess.run(
        [sys.executable, "-c", program, *command(folder)[2:]], capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stderr
    assert "done before" in again.stdout
    assert (only_cell(folder) / "result.json").stat().st_mtime_ns == before


def test_a_finished_cell_is_exported_without_running_again(finished, tmp_path):
    from sftdiv.release.export.lineage import verify_export

    folder, _ = finished
    cell = only_cell(folder)
    before = (cell / "result.json").stat().st_mtime_ns
    again = sftdiv(folder, "export.format=messages", f"export.folder={tmp_path}", "export.name=mine")
    assert again.returncode == 0, again.stderr
    assert (cell / "result.json").stat().st_mtime_ns == before
    assert [path.name for path in verify_export(tmp_path)] == ["mine.jsonl"]
    subset = pq.read_table(cell / "subset.parquet")
    written = [json.loads(line)["messages"] for line in (tmp_path / "mine.jsonl").read_text().splitlines()]
    assert written == subset.column("messages").to_pylist()
    lineage = json.loads((tmp_path / "lineage.json").read_text())["mine"]
    assert lineage["ids"] == subset.column("id").to_pylist()
    assert lineage["corpus"]["fingerprint"] == row_of(cell)["corpus_hash"] and lineage["tokenizer"]["files"]
    assert json.loads((tmp_path / "dataset_info.json").read_text())["mine"]["file_name"] == "mine.jsonl"


def test_w_and_b_was_offline_and_its_run_is_named_by_the_cell(finished):
    folder, _ = finished
    runs = list((folder / "outputs" / "single" / "wandb").glob("offline-run-*"))
    assert len(runs) == 1
    assert list(runs[0].glob("run-*.wandb"))


def test_a_changed_setting_gets_another_folder_and_the_saved_model_generates(finished):
    folder, _ = finished
    other = sftdiv(folder, "selection.slack=1.4", "stop_after=select", "study=other", "tracking=none")
    assert other.returncode == 0, other.stderr[-3000:]
    assert only_cell(folder, "other").name != only_cell(folder).name
    samples = [json.loads(line) for line in (only_cell(folder) / "samples.jsonl").read_text().splitlines()]
    assert len(samples) == 3 and all(set(sample) >= {"instruction", "reference", "response"} for sample in samples)


@pytest.mark.parametrize(
    "stage", ["corpus", "units", "ladder", "draw", "diversity", "base", "train", "evaluate", "generate"]
)
def test_a_killed_run_resumes_to_the_same_numbers(finished, tmp_path, stage):
    finished_row = row_of(only_cell(finished[0]))
    process = subprocess.Popen(
        command(tmp_path), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment()
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.rstrip().endswith(f": {stage}"):
            break
    process.send_signal(signal.SIGKILL)
    process.stderr.close()
    assert process.wait() == -signal.SIGKILL
    assert not (only_cell(tmp_path) / "result.json").exists()
    resumed = sftdiv(tmp_path)
    assert resumed.returncode == 0, resumed.stderr[-3000:]
    assert row_of(only_cell(tmp_path)) == finished_row


def test_a_failure_says_where_and_keeps_the_traceback(tmp_path):
    failed = sftdiv(tmp_path, "size.n=1400")
    assert failed.returncode == 1
    assert "slack x size" in failed.stderr and "largest feasible size" in failed.stderr
    assert "Traceback" not in failed.stderr
    failure = json.loads((only_cell(tmp_path) / "failure.json").read_text())
    assert failure["stage"] == "draw"
    assert "largest feasible size" in failure["message"] and "Traceback" in failure["traceback"]
    assert not (only_cell(tmp_path) / "result.json").exists()


def test_a_sweep_leaves_a_cell_a_combination(tmp_path):
    swept = sftdiv(
        tmp_path,
        "-m",
        "stop_after=select",
        "tracking=none",
        "diversity_level=0,1",
        "strategy.side=instruction,response",
        "study=sweep",
    )
    assert swept.returncode == 0, swept.stderr[-3000:]
    rows = [json.loads(path.read_text()) for path in (tmp_path / "multirun" / "sweep").glob("*/result.json")]
    assert {(row["side"], row["level"]) for row in rows} == {
        (side, level) for side in ("instruction", "response") for level in (0, 1)
    }
    assert all(row["k_asked"] == (row["k_min"] if row["level"] == 0 else row["k_max"]) for row in rows)


def test_a_budget_of_label_tokens_decides_what_is_learned(tmp_path):
    done = sftdiv(tmp_path, "size.label_tokens=4000", "tracking=none", "eval=none", "samples=0")
    assert done.returncode == 0, done.stderr[-3000:]
    row = row_of(only_cell(tmp_path))
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
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "even.yaml").write_text(task)
    custom = ["eval=custom", f"eval.include_path={tmp_path}/tasks", "tracking=none", "samples=0"]
    wrong = sftdiv(tmp_path, *custom, "eval.tasks=[evn]", "eval.primary=even.acc")
    assert wrong.returncode == 1 and "Did you mean even?" in wrong.stderr
    wrong = sftdiv(tmp_path, *custom, "eval.tasks=[even]", "eval.primary=even.accuracy")
    assert wrong.returncode == 1 and "eval.primary='even.accuracy' is none of the scores: even.acc" in wrong.stderr
    assert not (tmp_path / "cache" / "base").exists()
    done = sftdiv(tmp_path, *custom, "eval.tasks=[even]", "eval.primary=even.acc")
    assert done.returncode == 0, done.stderr[-3000:]
    cell = next(path.parent for path in (tmp_path / "outputs").rglob("result.json"))
    assert 0 <= row_of(cell)["score.even.acc"] <= 1
