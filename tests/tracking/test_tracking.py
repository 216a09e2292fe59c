"""What a cell sends to W&B: read back from its offline run, or seen by a loopback server."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from fake_wandb_server import KEY, Runs

from sftdiv.protocols import TrackedRun
from sftdiv.records import SftdivError
from sftdiv.storage.files import finite
from sftdiv.tracking import session
from sftdiv.tracking.contents import cell_tags
from sftdiv.tracking.offline import read_run, read_runs
from sftdiv.tracking.run_tracker import RunTracker, start_tracking
from sftdiv.tracking.sent import mark_sent, row_digest, sent_as
from sftdiv.tracking.session import Destination, resolve_mode, run_id, sync_line
from sftdiv.tracking.wandb import WandbTracking

ROW = {
    "study": "grid",
    "cell": "cell-a",
    "strategy": "micro_token",
    "level": 0.5,
    "n": 12345678,
    "score.acc": 0.25,
    "train.loss": 1.75,
}
CONFIG = {"strategy": {"name": "micro_token", "units": {"low": 5}}, "seed": 0, "size": {"n": None}, "layers": [1, 2]}


@pytest.fixture
def tracked(tmp_path, monkeypatch):
    """Starts trackers of one cell, each in a W&B session of its own, as processes are."""
    import wandb

    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "WANDB_SWEEP_ID", *session.PROCESS_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))

    def start(folder=tmp_path, **changes):
        name, tags = changes.pop("name", "cell-a"), ["micro_token", "response"]
        run = TrackedRun(study="grid", name=name, folder=folder, config=CONFIG, kind="level", tags=tags)
        settings = {"project": "p", "entity": None, "mode": "offline", "timeout": 20} | changes
        return start_tracking([WandbTracking(**settings)], run)

    yield start
    wandb.teardown()


@pytest.fixture
def server(monkeypatch):
    server = Runs()
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    yield server
    server.shutdown()
    server.server_close()


def samples(folder):
    path = folder / "samples.jsonl"
    path.write_text('{"id": "x", "response": "höher"}\n{"id": "y", "response": "b", "source": "s"}\n', encoding="utf-8")
    return path


def test_wandb_is_offline_without_a_key_and_never_asks(tmp_path, monkeypatch):
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    assert resolve_mode("auto") == "offline"
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert resolve_mode("auto") == "online"
    monkeypatch.delenv("WANDB_API_KEY")
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert resolve_mode("auto") == "online"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert resolve_mode("auto") == "disabled"
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    with pytest.raises(SftdivError, match="no API key is known"):
        resolve_mode("online")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"mode": "on"}, r"tracking.mode='on' is unknown. Known: auto, online, offline"),
        ({"timeout": 0}, "tracking.timeout=0 must be"),
    ],
)
def test_a_destination_that_cannot_be_is_refused(change, reason):
    with pytest.raises(SftdivError, match=reason):
        Destination(**{"project": "p", "entity": None, "mode": "auto", "timeout": 1.0} | change)


def test_tags_are_the_words_that_cells_are_found_by():
    row = {
        "strategy": "random",
        "side": "response",
        "size": 1000,
        "model": "tiny",
        "match": "none",
        "universe_of": None,
        "seed": 3,
    }
    assert cell_tags(row) == ["random", "response", "size 1000", "tiny", "match none"]


def test_a_row_is_known_again_after_json_and_a_changed_one_is_not(tmp_path):
    row = ROW | {"score.acc.stderr": math.nan}
    assert row_digest(row) == row_digest(json.loads(json.dumps(finite(row))))
    mark_sent(tmp_path, "abc", row, mode="offline")
    assert sent_as(tmp_path, "abc", row) == "offline"
    assert sent_as(tmp_path, "abc", row | {"level": 0.6}) is None
    assert sent_as(tmp_path, "abd", row) is None
    mark_sent(tmp_path, "abd", row, mode="disabled")
    assert sent_as(tmp_path, "abd", row) is None


def test_no_tracker_takes_what_every_tracker_takes(tmp_path):
    tracker = RunTracker()
    tracker.log({"train.loss": 1.0}, 0)
    tracker.samples(tmp_path / "samples.jsonl")
    tracker.finish({}, 0)
    assert not list(tmp_path.iterdir())


def test_an_offline_run_equals_the_row(tmp_path, tracked):
    tracker = tracked()
    row = ROW | {"score.acc.stderr": math.nan, "left_out": None}
    for step in range(3):
        tracker.log({"train.loss": 3.0 - step}, step)
    tracker.samples(samples(tmp_path))
    tracker.finish(row, 0)
    tracker.finish({"score.acc": 0.9}, 1)
    (run,) = read_runs(tmp_path)
    assert (run.id, run.project, run.group, run.name, run.job_type) == (
        run_id("grid", "cell-a"),
        "p",
        "grid",
        "cell-a",
        "level",
    )
    assert run.tags == ("micro_token", "response")
    assert run.config == CONFIG
    table = run.summary["samples"]
    assert {key: run.summary[key] for key in row} == finite(row)
    assert (table["_type"], table["nrows"], table["ncols"]) == ("table-file", 2, 3)
    assert json.loads((run.path.parent / "files" / table["path"]).read_text())["data"] == [
        ["x", "höher", None],
        ["y", "b", "s"],
    ]
    assert [(each["_step"], each["train.loss"]) for each in run.history] == [(0, 3.0), (1, 2.0), (2, 1.0)]
    assert run.exit_code == 0 and not run.synced
    assert sent_as(tmp_path, run.id, row) == "offline"


def test_a_failed_cell_is_closed_as_failed_and_not_taken_for_sent(tmp_path, tracked):
    tracker = tracked()
    tracker.finish({"failed_stage": "train"}, 1)
    (run,) = read_runs(tmp_path)
    assert run.exit_code == 1 and run.summary["failed_stage"] == "train"
    assert sent_as(tmp_path, run.id, {"failed_stage": "train"}) is None


def test_no_file_of_a_run_holds_the_key(tmp_path, tracked, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    tracker = tracked()
    tracker.finish(ROW, 0)
    assert [path for path in tmp_path.rglob("*.wandb") if b"cell-a" in path.read_bytes()]
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]


KILLED = """
import os, sys, time
from pathlib import Path
from sftdiv.protocols import TrackedRun
from sftdiv.tracking.run_tracker import start_tracking
from sftdiv.tracking.wandb import WandbTracking
folder, steps = Path(sys.argv[1]), int(sys.argv[2])
run = TrackedRun(study="grid", name="cell-a", folder=folder, config={}, kind="level", tags=[])
tracker = start_tracking([WandbTracking(project="p", entity=None, mode="offline", timeout=20)], run)
for step in range(steps):
    tracker.log({"train.loss": 100.0 - step}, step)
print("logged", flush=True)
time.sleep(60)
"""


def kill_a_cell(folder, steps):
    """The log of a cell that logs some steps and is then killed, with its W&B service, which would go on writing."""
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(folder), str(steps)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout.readline() == "logged\n"
        (log,) = folder.glob("wandb/offline-run-*/*.wandb")
        deadline = time.monotonic() + 30
        while steps > 500 and log.stat().st_size < 1 << 15 and time.monotonic() < deadline:
            time.sleep(0.05)
        for process in psutil.Process(child.pid).children(recursive=True):
            process.kill()
        child.send_signal(signal.SIGKILL)
    return log


@pytest.mark.parametrize(
    "steps", [2, 900]
)  # with few steps W&B has written a header only, with many a log that ends within a record
def test_a_killed_cell_goes_on_in_one_run_with_the_steps_it_had(tmp_path, tracked, steps):
    dead = read_run(kill_a_cell(tmp_path, steps))
    assert dead.exit_code is None
    assert (len(dead.history) > 100) == (steps == 900)
    tracker = tracked()
    for step in range(2):  # what was logged before is not logged again, nor doubled
        tracker.log({"train.loss": 100.0 - step}, step)
    tracker.finish(ROW, 0)
    (run,) = read_runs(tmp_path)
    assert run.exit_code == 0 and run.summary["train.loss"] == ROW["train.loss"]
    assert [(each["_step"], each["train.loss"]) for each in run.history] == [
        (step, 100.0 - step) for step in range(max(2, len(dead.history)))
    ]


def test_wandb_sync_sends_a_resumed_cell_and_is_stopped_by_a_dead_half(tmp_path, tracked, server):
    """Why the dead half has to go: W&B's own command then sends nothing at all."""
    dead = kill_a_cell(tmp_path / "grid", 2)
    half = dead.read_bytes()
    tracker = tracked(folder=tmp_path / "grid")
    tracker.log({"train.loss": 2.5}, 0)
    tracker.finish(ROW, 0)
    (run,) = read_runs(tmp_path / "grid")

    def send():
        environment = {key: value for key, value in os.environ.items() if key not in session.PROCESS_VARIABLES}
        command = [sys.executable, "-m", "wandb", "sync", str(tmp_path / "grid" / "wandb")]
        subprocess.run(command, check=True, cwd=tmp_path, env=environment, capture_output=True, timeout=60)

    dead = (
        tmp_path / "grid" / "wandb" / f"offline-run-20200101_000000-{run.id}" / dead.name
    )  # both may be of one second
    dead.parent.mkdir()
    dead.write_bytes(half)
    send()
    assert not run.synced and run.id not in server.runs
    dead.unlink()
    dead.parent.rmdir()
    send()
    assert run.synced and sync_line(tmp_path / "grid") is None
    assert [line["train.loss"] for line in server.lines(run.id, "wandb-history.jsonl")] == [2.5]
    assert server.lines(run.id, "wandb-summary.json")[-1]["score.acc"] == ROW["score.acc"]


def test_online_a_resumed_cell_goes_on_in_its_run(tmp_path, tracked, server):
    import wandb

    for steps, code in ((2, 1), (4, 0)):
        tracker = tracked(mode="auto")
        for step in range(steps):
            tracker.log({"train.loss": 4.0 - step}, step)
        tracker.finish(ROW, code)
        wandb.teardown()
    (run,) = server.runs
    assert run == run_id("grid", "cell-a")
    sent = server.runs[run]
    assert (sent["project"], sent["groupName"], sent["displayName"], sent["jobType"]) == (
        "p",
        "grid",
        "cell-a",
        "level",
    )
    assert sent["tags"] == ["micro_token", "response"]
    assert {key: value["value"] for key, value in json.loads(sent["config"]).items() if key != "_wandb"} == CONFIG
    lines = server.lines(run, "wandb-history.jsonl")
    assert [(line["_step"], line["train.loss"]) for line in lines] == [(0, 4.0), (1, 3.0), (2, 2.0), (3, 1.0)]
    assert server.lines(run, "wandb-summary.json")[-1].items() >= ROW.items()
    assert sent_as(tmp_path, run, ROW) == "online"


def test_where_wandb_does_not_answer_the_cell_is_kept_offline_and_the_next_does_not_wait(
    tmp_path, tracked, monkeypatch, caplog
):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # closed
    started = time.monotonic()
    first = tracked(mode="auto", timeout=2)
    first.finish(ROW, 0)
    waited = time.monotonic() - started
    assert "W&B does not answer" in caplog.text and 2 <= waited < 20
    second = tracked(mode="auto", timeout=2, name="cell-b")
    second.finish(ROW, 0)
    assert caplog.text.count("W&B does not answer") == 1
    runs = read_runs(tmp_path)  # folders are named by the second: both may be of one
    assert sorted((run.name, run.exit_code) for run in runs) == [("cell-a", 0), ("cell-b", 0)]


def test_wandb_going_silent_in_a_run_costs_the_timeout_and_fails_nothing(tmp_path, tracked, server, caplog):
    tracker = tracked(mode="auto", timeout=3)
    server.deaf.set()
    tracker.log({"train.loss": 1.0}, 0)
    started = time.monotonic()
    tracker.finish(ROW, 0)
    assert time.monotonic() - started < 10
    assert "could not be finished" in caplog.text
    assert sent_as(tmp_path, run_id("grid", "cell-a"), ROW) is None


def test_a_session_leaves_in_the_environment_what_a_child_has_to_drop(tracked):
    before = set(os.environ)
    tracker = tracked()
    assert set(os.environ) - before == set(session.PROCESS_VARIABLES)
    tracker.finish(ROW, 0)
    assert set(os.environ) == before


CHILD = """
import json, multiprocessing, sys
from pathlib import Path
from sftdiv.protocols import TrackedRun
from sftdiv.tracking.run_tracker import start_tracking
from sftdiv.tracking.wandb import WandbTracking

def cell(folder, row):
    run = TrackedRun(study="grid", name="cell-a", folder=folder, config={}, kind="level", tags=[])
    start_tracking([WandbTracking(project="p", entity=None, mode="offline", timeout=20)], run).finish(row, 0)

if __name__ == "__main__":
    arguments = (Path(sys.argv[1]), json.loads(sys.argv[2]))
    child = multiprocessing.get_context("forkserver").Process(target=cell, args=arguments)
    child.start()
    child.join()
    sys.exit(child.exitcode)
"""


def test_the_log_of_a_cell_in_a_child_of_its_own_is_whole(tmp_path):
    (tmp_path / "child.py").write_text(CHILD)
    subprocess.run(
        [sys.executable, str(tmp_path / "child.py"), str(tmp_path), json.dumps(ROW)], check=True, timeout=120
    )
    (run,) = read_runs(tmp_path)
    assert run.exit_code == 0 and run.summary.items() >= ROW.items()


def test_a_missing_samples_file_is_a_warning(tmp_path, tracked, caplog):
    tracker = tracked()
    tracker.samples(tmp_path / "samples.jsonl")
    tracker.finish(ROW, 0)
    assert "takes no table" in caplog.text and read_runs(tmp_path)[0].exit_code == 0


def test_a_log_that_is_none_or_damaged_is_refused(tmp_path, tracked):
    path = tmp_path / "run-x.wandb"
    path.write_bytes(b"PK\x03\x04 something else")
    with pytest.raises(SftdivError, match="is no W&B log"):
        read_run(path)
    tracked().finish(ROW, 0)
    log = read_runs(tmp_path)[0].path
    data = bytearray(log.read_bytes())
    data[100] ^= 1
    log.write_bytes(data)
    with pytest.raises(SftdivError, match="damaged at byte"):
        read_run(log)


OF_AGENT = """
import json, sys
from pathlib import Path
from sftdiv.protocols import TrackedRun
from sftdiv.tracking.run_tracker import start_tracking
from sftdiv.tracking.wandb import WandbTracking
config, row = json.loads(sys.argv[2]), json.loads(sys.argv[3])
run = TrackedRun(study="grid", name="cell-a", folder=Path(sys.argv[1]), config=config, kind="level", tags=[])
start_tracking([WandbTracking(project="p", entity=None, mode="offline", timeout=20)], run).finish(row, 0)
"""


def test_an_earlier_try_that_cannot_be_read_is_left_behind_with_a_warning(tmp_path, tracked, caplog):
    damaged = tmp_path / "wandb" / "offline-run-20200101_000000-x" / f"run-{run_id('grid', 'cell-a')}.wandb"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"nothing of W&B's")
    tracked().finish(ROW, 0)
    assert "the steps of an earlier try are lost" in caplog.text
    assert [run.exit_code for run in read_runs(tmp_path)] == [0]


def test_a_folder_that_cannot_be_written_fails_no_run(tmp_path, tracked, caplog):
    (tmp_path / "file").touch()
    tracker = tracked(folder=tmp_path / "file" / "grid")
    tracker.log({"train.loss": 1.0}, 0)
    tracker.samples(tmp_path / "samples.jsonl")
    tracker.finish(ROW, 0)
    assert "this run is not tracked" in caplog.text


def test_under_a_wandb_agent_the_run_is_the_agents(tmp_path):
    parameters = tmp_path / "parameters.yaml"
    parameters.write_text("wandb_version: 1\nstrategy:\n  value: micro_token\n")
    agent = {"WANDB_SWEEP_ID": "sweep1", "WANDB_RUN_ID": "agentrun", "WANDB_SWEEP_PARAM_PATH": str(parameters)}
    command = [sys.executable, "-c", OF_AGENT, str(tmp_path), json.dumps(CONFIG), json.dumps(ROW)]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | agent, timeout=60)
    (run,) = read_runs(tmp_path)
    assert run.id == "agentrun" and run.group == "grid"
    assert run.config == {"strategy": "micro_token", "settings": CONFIG}


def test_the_sync_line_names_the_folder_from_here(tmp_path, monkeypatch):
    assert sync_line(tmp_path) is None
    log = Path("grid one/wandb/offline-run-1-a/run-a.wandb")
    monkeypatch.chdir(tmp_path)
    log.parent.mkdir(parents=True)
    log.touch()
    assert sync_line(Path("grid one")) == "python -m sftdiv.sync 'grid one'"
    log.with_suffix(".wandb.synced").touch()
    assert sync_line(Path("grid one")) is None
