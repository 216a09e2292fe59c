"""Finished cells replayed from disk, and the summary run of a study."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_wandb_server import KEY, Runs
from PIL import Image

from sftdiv import sync
from sftdiv.protocols import StudySummary, TrackedRun
from sftdiv.storage.cell import flatten
from sftdiv.tracking.contents import results_of
from sftdiv.tracking.offline import read_runs
from sftdiv.tracking.run_tracker import start_tracking
from sftdiv.tracking.sent import mark_sent, sent_as
from sftdiv.tracking.session import PROCESS_VARIABLES, Destination, run_id
from sftdiv.tracking.study_run import log_study, study_numbers, tracked_as
from sftdiv.tracking.wandb import WandbTracking

pytestmark = pytest.mark.filterwarnings("ignore:Pydantic V1 style:DeprecationWarning")  # wandb-workspaces' own
SHARED = {"project": "p", "entity": None, "mode": "auto", "timeout": 20}
TRACKING = {**SHARED, "wandb": {"_target_": "sftdiv.tracking.wandb.WandbTracking", **SHARED}}
WHERE = Destination(project="p", entity=None, mode="offline", timeout=20)


@pytest.fixture(autouse=True)
def session(tmp_path, monkeypatch):
    """No key and no other switch of W&B's, and a W&B service of its own for each test."""
    import wandb

    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    yield
    wandb.teardown()
    for name in PROCESS_VARIABLES:
        os.environ.pop(name, None)


@pytest.fixture
def server(monkeypatch):
    server = Runs()
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    yield server
    server.shutdown()
    server.server_close()


def finished_cell(study, name, *, tracking=TRACKING, **row):
    """A cell's folder as a finished run leaves it, without its model."""
    folder = study / name
    folder.mkdir(parents=True)
    row = {
        "study": study.name,
        "cell": name,
        "kind": "level",
        "strategy": "meso_tag",
        "primary": "acc",
        "score.acc": 0.25,
    } | row
    config = {"strategy": {"name": "meso_tag"}, "seed": 1, "tracking": tracking}
    row |= flatten(config, "config.")
    (folder / "result.json").write_text(json.dumps(row))
    (folder / "samples.jsonl").write_text('{"id": "x", "response": "b"}\n')
    return row


def actions(capsys):
    """Name and action of every row of the last output."""
    printed = [re.split(r"  +", line) for line in capsys.readouterr().out.splitlines()]
    head = printed.index(["run", "id", "action", "detail"])
    return [(columns[0], columns[2]) for columns in printed[head + 1 :] if len(columns) >= 3]


def test_finished_cells_are_replayed_once(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    study = tmp_path / "grid"
    rows = {name: finished_cell(study, name) for name in ("cell-a", "cell-b")}
    (study / "cell-c").mkdir()
    assert sync.main([str(study)]) == 0
    assert actions(capsys) == [("cell-a", "written offline"), ("cell-b", "written offline")]
    for run in read_runs(study):
        assert (run.id, run.group, run.job_type, run.tags) == (run_id("grid", run.name), "grid", "level", ("meso_tag",))
        assert run.summary.items() >= results_of(rows[run.name]).items()
        assert not [name for name in run.summary if name.startswith("config.")]
        assert run.config == {"strategy": {"name": "meso_tag"}, "seed": 1, "tracking": TRACKING}
        assert run.summary["samples"]["nrows"] == 1
    assert sync.main([str(study)]) == 0
    assert actions(capsys) == [("cell-a", "not sent yet"), ("cell-b", "not sent yet")]
    assert len(read_runs(study)) == 2
    (study / "cell-b" / "result.json").write_text(json.dumps(rows["cell-b"] | {"score.acc": 0.5}))
    assert sync.main([str(study)]) == 0
    assert actions(capsys) == [("cell-a", "not sent yet"), ("cell-b", "written offline")]
    assert sync.main([str(study), "--again"]) == 0
    assert actions(capsys) == [("cell-a", "written offline"), ("cell-b", "written offline")]


def test_cells_that_did_not_choose_w_and_b_are_left_out_unless_asked_for(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    study = tmp_path / "grid"
    finished_cell(study, "cell-a")
    finished_cell(study, "cell-b", tracking=SHARED)  # tracking=none
    finished_cell(study, "cell-c", tracking={**SHARED, "csv": {"folder": "csv"}})
    assert sync.main([str(study)]) == 0
    outcomes = [("cell-a", "written offline"), ("cell-b", "not tracked"), ("cell-c", "not tracked")]
    assert actions(capsys) == outcomes
    assert [run.name for run in read_runs(study)] == ["cell-a"]
    assert sync.main([str(study), "--untracked"]) == 0
    assert actions(capsys)[1:] == [("cell-b", "written offline"), ("cell-c", "written offline")]


def test_a_lost_offline_run_is_written_again_and_a_sent_one_counts_as_sent(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    study = tmp_path / "grid"
    for name in ("cell-a", "cell-b"):
        finished_cell(study, name)
    sync.main([str(study)])
    lost, sent = sorted(read_runs(study), key=lambda run: run.name)
    sent.path.with_suffix(".wandb.synced").touch()  # as `wandb sync` leaves it
    lost.path.unlink()
    capsys.readouterr()
    assert sync.main([str(study)]) == 0
    assert actions(capsys) == [("cell-a", "written offline"), ("cell-b", "sent before")]


def test_a_row_sent_to_one_project_was_not_sent_to_another(tmp_path):
    mark_sent(tmp_path, "abc", {"level": 1}, mode="online", destination=WHERE)
    other = dataclasses.replace(WHERE, project="other")
    assert sent_as(tmp_path, "abc", {"level": 1}, WHERE) == "online"
    assert sent_as(tmp_path, "abc", {"level": 1}, other) is None
    mark_sent(tmp_path, "abd", {"level": 1}, mode="online")  # as written by earlier versions
    assert sent_as(tmp_path, "abd", {"level": 1}, other) == "online"


def test_online_the_offline_run_itself_is_sent_with_its_steps(tmp_path, capsys, monkeypatch, server):
    monkeypatch.setenv("COLUMNS", "160")
    study = tmp_path / "grid"
    rows = {name: finished_cell(study, name) for name in ("cell-a", "cell-b")}
    run = TrackedRun(study="grid", name="cell-a", folder=study, config={"seed": 1}, kind="level", tags=[])
    tracker = start_tracking([WandbTracking(project="p", entity=None, mode="offline", timeout=20)], run)
    tracker.log({"train.loss": 2.0}, 0)
    tracker.finish(rows["cell-a"], 0)
    numbers = {"slope.a": 0.5}
    log_study(WHERE, StudySummary(folder=study, name="grid", numbers=numbers, tables={}, figures={}, report=None))
    assert sync.main([str(study)]) == 0
    assert actions(capsys) == [("cell-a", "sent"), ("cell-b", "sent"), ("study", "sent")]
    ids = {name: run_id("grid", name) for name in ("cell-a", "cell-b", "study")}
    assert server.runs.keys() == set(ids.values())
    assert [line["train.loss"] for line in server.lines(ids["cell-a"], "wandb-history.jsonl")] == [2.0]
    assert server.lines(ids["study"], "wandb-summary.json")[-1]["slope.a"] == 0.5
    for name, row in rows.items():
        assert server.lines(ids[name], "wandb-summary.json")[-1].items() >= results_of(row).items()
        assert sent_as(study, ids[name], row) == "online"
    count = len(server.operations)
    assert sync.main([str(study)]) == 0
    assert actions(capsys) == [("cell-a", "sent before"), ("cell-b", "sent before")]
    assert len(server.operations) == count
    assert sync.main([str(study), "--again", "--project", "other"]) == 0
    assert server.runs.keys() == set(ids.values())
    assert [line["train.loss"] for line in server.lines(ids["cell-a"], "wandb-history.jsonl")] == [2.0]


def test_a_cell_that_was_killed_does_not_keep_the_others_from_being_sent(tmp_path, capsys, monkeypatch, server):
    monkeypatch.setenv("COLUMNS", "160")
    study = tmp_path / "grid"
    finished_cell(study, "cell-a")
    assert sync.main([str(study), "--mode", "offline"]) == 0
    (whole,) = read_runs(study)
    dead = study / "wandb" / "offline-run-20200101_000000-dead" / "run-dead.wandb"
    dead.parent.mkdir()
    dead.write_bytes(whole.path.read_bytes()[:7])  # what W&B has written when a cell is killed early
    capsys.readouterr()
    assert sync.main([str(study)]) == 0
    assert actions(capsys) == [("cell-a", "sent")]
    assert server.runs.keys() == {whole.id} and dead.exists()


def test_unreachable_the_command_fails_clearly_and_marks_nothing(tmp_path, capsys, monkeypatch):
    study = tmp_path / "grid"
    row = finished_cell(study, "cell-a", tracking=TRACKING | {"timeout": 2})
    finished_cell(study, "cell-b", tracking=TRACKING | {"timeout": 2})
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    assert sync.main([str(study)]) == 1
    assert "W&B does not take cell-a, nor what comes after it" in capsys.readouterr().err
    assert sent_as(study, run_id("grid", "cell-a"), row) is None


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["FOLDER"], "holds no finished cell"),
        (["STUDY", "--mode", "online"], "no API key is known"),
        (["workspace", "FOLDER"], "holds no finished cell"),
        (["workspace", "STUDY"], "give --entity NAME"),
        (["workspace", "UNSCORED", "--entity", "me"], "have no score"),
        (["workspace", "STUDY", "--entity", "me"], "saving the workspace 'sftdiv grid' needs an account"),
    ],
)
def test_what_cannot_be_done_is_said(tmp_path, capsys, arguments, reason):
    finished_cell(tmp_path / "grid", "cell-a")
    finished_cell(tmp_path / "unscored", "cell-a", primary=None)
    folders = {"FOLDER": tmp_path / "none", "STUDY": tmp_path / "grid", "UNSCORED": tmp_path / "unscored"}
    assert sync.main([str(folders.get(each, each)) for each in arguments]) == 1
    assert reason in capsys.readouterr().err


def test_the_destination_is_that_of_the_cells(tmp_path):
    finished_cell(tmp_path / "untracked", "cell-a", tracking=SHARED)
    assert tracked_as(tmp_path / "untracked") is None
    (tmp_path / "old" / "cell-a").mkdir(parents=True)
    (tmp_path / "old" / "cell-a" / "result.json").write_text(json.dumps({"cell": "cell-a"}))
    assert tracked_as(tmp_path / "old") is None
    finished_cell(tmp_path / "grid", "cell-a", tracking=SHARED | {"csv": {"folder": None}})
    finished_cell(tmp_path / "grid", "cell-b", tracking={"wandb": SHARED | {"entity": "me"}})
    assert tracked_as(tmp_path / "grid") == Destination(project="p", entity="me", mode="auto", timeout=20)
    assert sync._default_destination().project == "sftdiv"


def found(tmp_path):
    """What an analysis hands over."""
    figure, report = tmp_path / "figure3.png", tmp_path / "report.html"
    Image.fromarray(np.zeros((4, 6, 3), dtype=np.uint8)).save(figure)
    report.write_text("<html><body>slope</body></html>")
    frame = pd.DataFrame({"ladder": ["a", "b"], "slope": [0.5, np.nan], "n": [7, 7]})
    overlap = pd.DataFrame([[np.nan, 0.5], [0.5, np.nan]], index=pd.Index([0.0, 1.0], name="level"), columns=[0.0, 1.0])
    return {"tables": {"slopes": frame, "overlap": overlap}, "figures": {"figure3": figure}, "report": report}


def test_a_study_is_one_run_that_a_second_analysis_continues(tmp_path):
    study = tmp_path / "embedded grid"
    numbers = {"slope.micro_token.response.1000.unmatched": 0.5, "correlation.response.entropy": float("nan")}
    for slope in (0.25, 0.5):
        numbers["slope.micro_token.response.1000.unmatched"] = slope
        log_study(WHERE, StudySummary(folder=study, name="embedded grid", numbers=numbers, **found(tmp_path)))
    (run,) = read_runs(study)
    assert (run.id, run.group, run.job_type, run.name) == (
        run_id("embedded grid", "study"),
        "embedded grid",
        "study",
        "study",
    )
    assert run.summary["slope.micro_token.response.1000.unmatched"] == 0.5
    assert run.summary["correlation.response.entropy"] is None
    assert study_numbers(study) == {
        "slope.micro_token.response.1000.unmatched": 0.5,
        "correlation.response.entropy": None,
    }
    files = run.path.parent / "files"
    slopes, overlap = (
        json.loads((files / run.summary[f"table/{name}"]["path"]).read_text()) for name in ("slopes", "overlap")
    )
    assert (slopes["columns"], slopes["data"]) == (["ladder", "slope", "n"], [["a", 0.5, 7], ["b", None, 7]])
    assert (overlap["columns"], overlap["data"]) == (["level", "0.0", "1.0"], [[0.0, None, 0.5], [1.0, 0.5, None]])
    assert run.summary["figure/figure3"]["_type"] == "image-file"
    assert (files / run.summary["report"]["path"]).read_text() == "<html><body>slope</body></html>"
    assert run.artifacts["embedded-grid-report"] == "report"


def test_wandb_failing_does_not_fail_an_analysis(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    where = Destination(project="p", entity=None, mode="auto", timeout=2)
    parts = found(tmp_path) | {"report": tmp_path / "missing.html"}
    log_study(where, StudySummary(folder=tmp_path, name="grid", numbers={"slope.a": 1.0}, **parts))
    assert "W&B does not answer" in caplog.text
    assert "failed to record the study's summary" in caplog.text


def test_help_is_the_modules_text_and_examples():
    told = subprocess.run(
        [sys.executable, "-m", "sftdiv.sync", "--help"], check=True, capture_output=True, text=True
    ).stdout
    for words in ("without doubling a\nrun", "--again", "python -m sftdiv.sync workspace", "conf/config.yaml"):
        assert words in told or words.replace("\n", " ") in told
    assert not Path("wandb").exists()
