"""Sweeps as a user types them, on a small embedded world: isolation, failures, resuming, kills, and work
that is done once."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from shared_folders import shared_folder
from small_runs import SMALL, VARYING, environment, paths, warm_cache
from warm_process import DEVNULL, PIPE, run_program, session_members, start_program

from sftdiv.tracking.offline import read_runs

pytestmark = pytest.mark.timeout(600)

CELL = [*SMALL, "eval.embedded.tasks=[sftdiv_embedded_mc]", "eval.limit=10", "samples=1", "tracking=none"]
BAD = """
import os, signal, sys
from dataclasses import dataclass

@dataclass
class Bad:
    name: str
    primary: None
    higher_is_better: None
    needs_world: bool
    how: str

    def check(self, exam):
        pass

    def score(self, checkpoint, exam):
        if self.how == "exits":
            sys.exit(3)
        if self.how == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "memory":
            raise MemoryError("no more")
        return {}
"""


def arguments(folder, *overrides, flags=("-m",)):
    return [*flags, *CELL, *paths(folder), *overrides]


def sweep(folder, *overrides, flags=("-m",), **variables):
    given = arguments(folder, *overrides, flags=flags)
    return run_program("sftdiv.run", *given, env=environment(**variables), timeout=500)


def start_sweep(folder, *overrides, stderr=DEVNULL):
    given = arguments(folder, *overrides)
    return start_program("sftdiv.run", *given, env=environment(), stdout=DEVNULL, stderr=stderr)


@pytest.fixture
def warm(tmp_path):
    """A folder with a copy of the artifacts of a finished run."""
    return warm_cache(tmp_path)


def rows(study: Path):
    """Every row by its cell, without what differs from run to run."""
    found = [json.loads(path.read_text()) for path in study.glob("*/result.json")]
    return {row["cell"]: {key: value for key, value in row.items() if not key.startswith(VARYING)} for row in found}


def exported(study: Path):
    """``cells.parquet`` without what differs from run to run."""
    table = pd.read_parquet(study / "cells.parquet")
    return table[[name for name in table.columns if not name.startswith(VARYING)]]


SIX = ["diversity_level=0,1/2,1", "seed=0,1", "study=six"]


@pytest.fixture(scope="module")
def undisturbed():
    """Six cells, run one after the other without interruption, with what the sweep printed in ``printed``;
    not to be changed."""

    def build(folder):
        done = sweep(warm_cache(folder), *SIX)
        assert done.returncode == 0, done.stderr[-3000:]
        (folder / "printed").write_text(done.stderr + done.stdout)

    return shared_folder("undisturbed-sweep", build)


def test_a_sweep_leaves_a_cell_a_combination_a_table_and_a_report(undisturbed):
    study, printed = undisturbed / "multirun" / "six", (undisturbed / "printed").read_text()
    assert {(row["level"], row["seed"]) for row in rows(study).values()} == {
        (level, seed) for level in (0, 0.5, 1) for seed in (0, 1)
    }
    there = {path.name for path in study.iterdir()}
    assert there >= {"report.html", "cells.parquet", "slopes.csv", "correlations.csv", "figures", "sweep.json"}
    (cell,) = study.glob("micro_token-response-n150-d0.5-tiny-s0-h*")
    assert sorted(path.name for path in cell.iterdir() if path.name != ".lock") == [
        "config.yaml",
        "evaluation",
        "log.txt",
        "model",
        "preview.txt",
        "result.json",
        "samples.jsonl",
        "subset.parquet",
    ]
    assert "6 of 6 finished" in printed
    assert re.search(r"response micro|micro", printed)


def test_finished_cells_are_skipped_without_torch(undisturbed):
    program = "from sftdiv.run import main; main(); import sys; assert 'torch' not in sys.modules"
    command = [sys.executable, "-c", program, *arguments(undisturbed, *SIX)]
    again = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
    assert again.returncode == 0, again.stderr[-3000:]
    assert "six: 6 cells, 6 already finished, 0 to run" in again.stderr


def test_cells_at_once_build_each_artifact_once_and_equal_those_in_turn(undisturbed, tmp_path):
    parallel = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=6", "hydra.verbose=false"]
    done = sweep(tmp_path, *SIX, *parallel)
    assert done.returncode == 0, done.stderr[-3000:]
    assert rows(tmp_path / "multirun" / "six") == rows(undisturbed / "multirun" / "six")
    logs = "".join(path.read_text() for path in (tmp_path / "multirun" / "six").glob("*/log.txt"))
    built = re.findall(r"building (\w+) (\w+)", logs)
    there = {(path.parent.parent.name, path.parent.name) for path in (tmp_path / "cache").rglob("manifest.json")}
    assert len(built) == len(set(built)) and set(built) == there
    assert {kind for kind, _ in built} == {
        "base",
        "corpus",
        "embeddings",
        "ladders",
        "random_draw",
        "token_ids",
        "tokenizer",
        "units",
        "world_tasks",
    }


def test_kills_of_parent_and_child_change_nothing(undisturbed, tmp_path):
    """Killed three times, at a base model's training, in a cell's training and in the parent between; then
    resumed to the end."""
    warm_cache(tmp_path, without=["base"])
    study = tmp_path / "multirun" / "six"
    for stage, whom in (("base", "child"), ("train", "parent"), ("evaluate", "parent")):
        process = start_sweep(tmp_path, *SIX)
        pid = wait_for_stage(study, stage, process)
        os.kill(process.pid if whom == "parent" else pid, signal.SIGKILL)
        if whom == "child":
            assert process.wait(400) == 1  # the others ran on
            (failure,) = study.glob("*/failure.json")
            told = json.loads(failure.read_text())
            assert told["stage"] == "base" and "killed by signal 9, SIGKILL" in told["message"]
            for path in study.glob("*/result.json"):  # begin again, so that there is something to kill
                if "-s1-" in path.parent.name:
                    path.unlink()
        else:
            assert process.wait(60) == -signal.SIGKILL
            deadline = time.monotonic() + 20
            while alive(pid) and time.monotonic() < deadline:
                time.sleep(0.1)
            assert not alive(pid)  # a cell does not outlive its sweep
    done = sweep(tmp_path, *SIX)
    assert done.returncode == 0, done.stderr[-3000:]
    assert not list(study.glob("*/failure.json")) and not list(study.glob("*/.running.json"))
    pd.testing.assert_frame_equal(exported(study), exported(undisturbed / "multirun" / "six"))


def test_w_and_b_holds_every_cell_and_the_study_without_a_double(warm):
    arguments = ["diversity_level=0,1/2,1", "study=told", "tracking=wandb", "tracking.mode=offline"]
    for _ in range(2):  # the second time every cell is skipped, and the summary continues its run
        done = sweep(warm, *arguments)
        assert done.returncode == 0, done.stderr[-3000:]
    study = warm / "multirun" / "told"
    runs = {run.name: run for run in read_runs(study)}
    assert "W&B was offline; to upload all runs: python -m sftdiv.sync" in done.stderr
    assert len(read_runs(study)) == len(runs) == 4 and {run.group for run in runs.values()} == {"told"}
    for path in study.glob("*/result.json"):
        row, run = json.loads(path.read_text()), runs[path.parent.name]
        assert (run.job_type, run.config["diversity_level"], run.config["strategy"]["name"]) == (
            "level",
            row["level"],
            row["strategy"],
        )
        numbers = {
            key: value for key, value in row.items() if not key.startswith(("config.", "digest"))
        }  # W&B has the config itself, and none of the cell's files
        assert {key: run.summary.get(key) for key in numbers} == numbers
        assert len(run.history) >= row["train.steps"]
    found = pd.read_csv(study / "slopes.csv").set_index("predictor").loc["level"]
    assert runs["study"].summary["slope.level.micro_token.response.150.tiny.unmatched"] == pytest.approx(
        found["slope"], rel=1e-12
    )
    assert "report" in runs["study"].artifacts.values()


def test_workers_of_a_launcher_end_with_their_sweep(tmp_path):
    parallel = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "seed=0,1,2", "study=parallel"]
    process = start_sweep(tmp_path, *parallel)
    pid = wait_for_stage(tmp_path / "multirun" / "parallel", "base", process)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL
    deadline = time.monotonic() + 20
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not alive(pid)
    assert not list((tmp_path / "multirun" / "parallel").glob("*/result.json"))


def wait_for_stage(study, stage, process):
    """The process id of a cell that says it is in a stage."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        for path in study.glob("*/.running.json"):
            try:
                told = json.loads(path.read_text())
            except FileNotFoundError:
                continue
            if told["stage"] == stage:
                return told["pid"]
        time.sleep(0.002)
    raise AssertionError(f"no cell reached {stage}")


def alive(pid):
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_whatever_fails_is_written_down_and_stops_no_other_cell(warm):
    done, study = bad_sweep(warm, "exits,dies,memory,works", isolate="true")
    failures = sorted(json.loads(each.read_text())["message"] for each in study.glob("*/failure.json"))
    assert failures[0] == "MemoryError: no more" and failures[1] == "SystemExit: 3"
    assert failures[2].startswith("the cell's process was killed by signal 9, SIGKILL")
    assert {json.loads(each.read_text())["stage"] for each in study.glob("*/failure.json")} == {"evaluate"}
    assert len(list(study.glob("*/result.json"))) == 1
    assert (
        "3 of 4 cells are not finished" in done.stderr
        and "The same command resumes" in done.stderr
        and "eval=exits,dies" in done.stderr
    )


def test_a_cell_in_a_new_interpreter_may_die_too(warm):
    done, study = bad_sweep(warm, "dies,works", isolate="spawn")
    (failure,) = study.glob("*/failure.json")
    assert json.loads(failure.read_text())["message"].startswith("the cell's process was killed by signal 9, SIGKILL")
    assert len(list(study.glob("*/result.json"))) == 1 and "1 of 2 cells are not finished" in done.stderr


def bad_sweep(folder, swept, *, isolate):
    """A sweep over evaluators that fail in several ways, and its study's folder."""
    (folder / "conf" / "eval").mkdir(parents=True)
    for how in ("exits", "dies", "memory", "works"):
        settings = {
            "_target_": "bad_evaluator.Bad",
            "name": how,
            "how": how,
            "primary": None,
            "higher_is_better": None,
            "needs_world": False,
        }
        (folder / "conf" / "eval" / f"{how}.yaml").write_text(f"# @package eval.{how}\n{json.dumps(settings)}")
    (folder / "bad_evaluator.py").write_text(BAD)
    cell = [override for override in CELL if not override.startswith("eval.")]
    given = [*cell, *paths(folder), "study=bad", f"sweep.isolate={isolate}", f"eval={swept}"]
    path = {"PYTHONPATH": os.pathsep.join([str(folder), os.environ["PYTHONPATH"]])}
    flags = ["--config-dir", str(folder / "conf"), "-m"]
    done = run_program(
        "sftdiv.run",
        *flags,
        *given,
        "model.finetune.learning_rate=0.002",
        env=environment(**path),
        timeout=500,
    )
    assert done.returncode == 1, done.stderr[-3000:]
    return done, folder / "multirun" / "bad"


def test_refused_settings_a_loss_that_explodes_and_a_subset_that_cannot_be_drawn(warm):
    swept = [
        "size.n=150,1400",
        "model.finetune.learning_rate=0.002,1e30",
        "selection.slack=0.5,1",
        "study=worse",
    ]
    done = sweep(warm, *swept)
    study = warm / "multirun" / "worse"
    assert done.returncode == 1
    failures = [json.loads(path.read_text()) for path in study.glob("*/failure.json")]
    told = sorted((failure["stage"], failure["message"]) for failure in failures)
    assert [stage for stage, _ in told] == ["settings"] * 4 + ["train"] * 2
    assert all(
        "selection.slack=0.5 must be a number of at least 1" in message
        for stage, message in told
        if stage == "settings"
    )
    assert all("the loss is nan at step" in message for stage, message in told if stage == "train")
    assert len(list(study.glob("*/result.json"))) == 2
    assert "6 of 8 cells are not finished" in done.stderr


def test_on_error_stop_starts_no_further_cell_and_the_rest_can_be_resumed(warm):
    arguments = [
        "stop_after=select",
        "size.n=1499,100",
        "selection.slack=1.5",
        "seed=0",
        "study=stop",
        "sweep.isolate=false",
    ]
    stopped = sweep(warm, *arguments, "sweep.on_error=stop")
    assert stopped.returncode == 1
    assert "2 of 2 cells are not finished" in stopped.stderr and "the sweep stopped earlier" in stopped.stderr
    gone_on = sweep(warm, *arguments)
    assert gone_on.returncode == 1
    assert "1 of 2 cells are not finished" in gone_on.stderr and "largest feasible size" in gone_on.stderr


def test_ctrl_c_stops_the_sweep_and_its_children(warm):
    process = start_sweep(warm, "seed=0,1,2", "study=stopped", stderr=PIPE)
    pid = wait_for_stage(warm / "multirun" / "stopped", "train", process)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    process.stderr.close()
    assert process.returncode == 130, told[-2000:]
    assert "interrupted; finished work is kept, and the same command resumes" in told and "Traceback" not in told
    deadline = time.monotonic() + 20
    while session_members(process.pid) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not alive(pid) and not session_members(process.pid)


def test_an_experiment_is_a_multirun_with_its_baselines(warm):
    done = sweep(
        warm,
        "+experiment=embedded_grid",
        "stop_after=select",
        "strategy=micro_token",
        "replicate=0",
        "selection.match=none",
        flags=(),
    )
    study = warm / "multirun" / "embedded_grid"
    found = rows(study)
    told = json.loads((study / "sweep.json").read_text())
    assert (
        len(told["cells"]) == 14 + 2 + 1 + 1
    )  # two sides by seven levels; random on each side, all of the corpus, the base model
    kinds = {(row["kind"], row["side"]) for row in found.values()}
    assert kinds == {(kind, side) for kind in ("level", "random") for side in ("instruction", "response")} | {
        ("full", "response"),
        ("base", "response"),
    }
    assert sorted({round(row["level"], 3) for row in found.values()}) == [0, 0.167, 0.333, 0.5, 0.667, 0.833, 1]
    assert all(row["universe_of"] == "micro_token" for row in found.values() if row["kind"] == "random")
    (full,) = (row for row in found.values() if row["kind"] == "full")
    assert full["n"] == full["universe"] == full["pool"]
    assert done.returncode == 0, done.stderr[-3000:]
    assert "no cell has a performance: no slope" in re.sub(r"\s+", " ", done.stderr)


def test_lowest_level_of_a_grid_over_sizes_is_that_of_the_largest(warm):
    arguments = ["stop_after=select", "diversity_level=0,1", "size.n=100,300", "study=sizes", "sweep.isolate=false"]
    assert sweep(warm, *arguments, "selection.k_min_size=300").returncode == 0
    assert sweep(warm, *arguments[:-2], "study=own", "sweep.isolate=false").returncode == 0
    fixed, own = (
        {(row["size"], row["level"]): row["k_asked"] for row in rows(warm / "multirun" / name).values()}
        for name in ("sizes", "own")
    )
    assert fixed[100, 0] == fixed[300, 0] == own[300, 0] > own[100, 0]
    assert fixed[100, 1] == own[100, 1]


def test_an_equal_token_budget_is_one_number_for_all_strategies(tmp_path):
    arguments = [
        "stop_after=select",
        "diversity_level=0,1",
        "strategy=micro_token,meso_tag",
        "size.label_tokens=auto",
        "study=tokens",
    ]
    done = sweep(
        tmp_path, *arguments, "sweep.isolate=false", "strategy.side=response", "size.n=120", "corpus.samples=3000"
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = list(rows(tmp_path / "multirun" / "tokens").values())
    assert {(row["budget"], row["size"]) for row in found} == {("tokens", 120)}
    assert all("n120tokens" in row["cell"] for row in found)
    label_tokens = [row["n"] * (row["diversity.response.length"] + 1) for row in found]
    assert max(label_tokens) < min(label_tokens) * 1.03  # the last response is drawn whole
