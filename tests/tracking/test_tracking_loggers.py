"""Tracking services beside W&B: what the reader of each finds of a run and a study, and what a failing one costs."""

import csv
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from PIL import Image

from sftdiv.config.app import conf_dir, register_resolvers
from sftdiv.config.build import build_tracking
from sftdiv.protocols import StudySummary, TrackedRun
from sftdiv.records import SftdivError
from sftdiv.storage.file_digests import read_sealed
from sftdiv.sweep import study_summary
from sftdiv.tracking.contents import config_of, numbers_of, results_of
from sftdiv.tracking.csv_files import CsvTracking
from sftdiv.tracking.mlflow import MlflowTracking
from sftdiv.tracking.offline import read_runs
from sftdiv.tracking.run_tracker import RunTracker, start_tracking
from sftdiv.tracking.tensorboard import TensorBoardTracking
from sftdiv.tracking.wandb import WandbRunLogger, WandbTracking

CONFIG = {"strategy": {"name": "micro_token", "units": {"low": 5}}, "seed": 0, "sources": None}
ROW = {
    "cell": "cell-a",
    "level": 0.5,
    "train.loss": 1.75,
    "score.acc": 0.25,
    "score.acc.stderr": math.nan,
    "higher_is_better": True,
    "config.seed": 0,
}
LOSSES = [(0, 3.0), (1, 2.0), (2, 1.0)]


def tracked_run(folder, **changes):
    run = {"study": "grid", "name": "cell-a", "folder": folder, "config": CONFIG, "kind": "level", "tags": ["tiny"]}
    return TrackedRun(**run | changes)


def track(options, folder, exit_code=0):
    """A cell of three steps with its generations and its row."""
    folder.mkdir(parents=True, exist_ok=True)
    samples = folder / "samples.jsonl"
    samples.write_text('{"id": "x", "response": "höher"}\n{"id": "y", "response": "b"}\n', encoding="utf-8")
    tracker = start_tracking(options, tracked_run(folder))
    for step, loss in LOSSES:
        tracker.log({"train.loss": loss}, step)
    tracker.samples(samples)
    tracker.finish(ROW, exit_code)
    tracker.finish(ROW | {"score.acc": 0.9}, 0)  # a second call does nothing


@pytest.fixture
def summary(tmp_path):
    """What an analysis hands over."""
    figure, report = tmp_path / "figure3.png", tmp_path / "report.html"
    Image.fromarray(np.zeros((4, 6, 3), dtype=np.uint8)).save(figure)
    report.write_text("<html><body>slope</body></html>")
    numbers = {"slope.level=0.5": 0.5, "correlation.a": math.nan, "note": "text"}
    overlap = pd.DataFrame([[0.5]], index=pd.Index([0.0], name="level"), columns=["1.0"])
    tables = {"slopes": [{"ladder": "a|b", "slope": 0.5}], "overlap": overlap}
    study = tmp_path / "grid"
    return StudySummary(
        folder=study, name="grid", numbers=numbers, tables=tables, figures={"figure3": figure}, report=report
    )


def rows(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def events(folder):
    """Scalars by tag as (step, value), and the other tags by kind, as TensorBoard reads them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    reader.Reload()
    tags = reader.Tags()
    scalars = {tag: [(event.step, event.value) for event in reader.Scalars(tag)] for tag in tags["scalars"]}
    texts = {
        tag: [event.tensor_proto.string_val[0].decode() for event in reader.Tensors(tag)] for tag in tags["tensors"]
    }
    return scalars, texts, tags["images"]


def test_a_row_is_settings_results_and_numbers():
    row = {"level": 0.5, "n": 3, "cell": "a", "stderr": math.nan, "ok": True}
    config = {"config.strategy.units.low": 5, "config.strategy.name": "x", "config.seed": 0, "config.tags": ["a"]}
    assert results_of(row | config) == row
    assert numbers_of(row | config) == {"level": 0.5, "n": 3.0}
    assert config_of(row | config) == {"strategy": {"units": {"low": 5}, "name": "x"}, "seed": 0, "tags": ["a"]}
    assert config_of({"config.a": 1, "config.a.b.c": 2}) == {"a": 1, "a.b.c": 2}


def test_csv_holds_steps_settings_and_result(tmp_path):
    track([CsvTracking()], tmp_path)
    folder = tmp_path / "csv" / "cell-a" / "version_0"
    steps = rows(folder / "metrics.csv")
    assert [(int(line["step"]), float(line["train.loss"])) for line in steps] == LOSSES
    assert yaml.safe_load((folder / "hparams.yaml").read_text()) == CONFIG
    result = {line["name"]: float(line["value"]) for line in rows(folder / "result.csv")}
    assert result == {"level": 0.5, "train.loss": 1.75, "score.acc": 0.25}
    track([CsvTracking()], tmp_path, exit_code=1)
    assert (tmp_path / "csv" / "cell-a" / "version_1" / "metrics.csv").exists()


def test_tensorboard_shows_steps_generations_and_result(tmp_path):
    track([TensorBoardTracking()], tmp_path)
    folder = tmp_path / "tensorboard" / "cell-a"
    scalars, texts, _ = events(folder)
    assert scalars["train.loss"] == LOSSES
    assert {tag: values[0][1] for tag, values in scalars.items() if tag.startswith("result/")} == {
        "result/level": 0.5,
        "result/train.loss": 1.75,
        "result/score.acc": 0.25,
    }
    (generations,) = texts.values()
    assert "höher" in generations[0] and len(generations) == 2
    assert yaml.safe_load((folder / "hparams.yaml").read_text())["strategy.units.low"] == 5


@pytest.fixture
def local_mlflow(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")


MLFLOW_WARNINGS = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # mlflow's own


@MLFLOW_WARNINGS
def test_mlflow_holds_steps_settings_generations_and_result(tmp_path, local_mlflow):
    from mlflow.tracking import MlflowClient

    track([MlflowTracking()], tmp_path, exit_code=1)
    track([MlflowTracking()], tmp_path)  # the second try continues the run
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("grid").experiment_id])
    assert (run.info.run_name, run.info.status, run.data.tags["kind"]) == ("cell-a", "FINISHED", "level")
    assert run.data.params["strategy.units.low"] == "5" and run.data.tags["tags"] == "tiny"
    assert run.data.metrics["result/score.acc"] == 0.25 and "result/score.acc.stderr" not in run.data.metrics
    history = client.get_metric_history(run.info.run_id, "train.loss")
    assert {(point.step, point.value) for point in history} == set(LOSSES)
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["samples.jsonl"]
    assert (tmp_path / "mlflow" / "artifacts").is_dir()


@MLFLOW_WARNINGS
def test_the_study_reaches_mlflow_once(tmp_path, local_mlflow, summary):
    from mlflow.tracking import MlflowClient

    for _ in range(2):
        MlflowTracking(experiment="mine").log_study(summary)
    client = MlflowClient(f"sqlite:///{summary.folder}/mlflow/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("mine").experiment_id])
    assert run.info.run_name == "study" and run.data.metrics == {"slope.level-0.5": 0.5}
    files = {
        file.path for folder in (None, "tables", "figures") for file in client.list_artifacts(run.info.run_id, folder)
    }
    assert {"report.html", "tables/slopes.csv", "tables/overlap.csv", "figures/figure3.png"} <= files


def test_the_study_reaches_csv_and_tensorboard(summary):
    for _ in range(2):  # a second analysis takes the place of the first
        study_summary.record([CsvTracking(), TensorBoardTracking()], summary)
    folder = summary.folder / "csv" / "study" / "version_0"
    assert {path.name for path in folder.parent.iterdir()} == {"version_0"}
    assert rows(folder / "metrics.csv") == [{"slope.level-0.5": "0.5", "step": "0"}]
    assert rows(folder / "slopes.csv") == [{"ladder": "a|b", "slope": "0.5"}]
    assert rows(folder / "overlap.csv") == [{"level": "0.0", "1.0": "0.5"}]
    scalars, texts, images = events(summary.folder / "tensorboard" / "study")
    assert scalars == {"slope.level-0.5": [(0, 0.5)]} and images == ["figure/figure3"]
    assert "| a/b | 0.5 |" in texts["table/slopes/text_summary"][0]


def test_an_analysed_study_reaches_its_tracker(tmp_path):
    from synthetic_study import write_synthetic_study

    from sftdiv.pipeline.analyze_study import analyze_study

    study = tmp_path / "multirun" / "grid"
    write_synthetic_study(study, slopes={("micro_token", "response"): 0.08}, levels=(0.0, 0.5, 1.0), matches=("none",))
    analysis = analyze_study(study, draw=False)
    study_summary.track_study([CsvTracking()], analysis)
    folder = study / "csv" / "study" / "version_0"
    (sent,) = rows(folder / "metrics.csv")
    slope = analysis.slopes.iloc[0]
    name = next(iter(name for name in sent if name.startswith(f"slope.{slope['predictor']}.")))
    assert float(sent[name]) in set(analysis.slopes["slope"])
    assert float(sent["cells"]) == len(analysis.study.cells)
    assert len(rows(folder / "slopes.csv")) == len(analysis.slopes)


class Recording:
    """A logger with nothing but Lightning's two methods."""

    def __init__(self):
        self.calls = []

    def log_metrics(self, metrics, step=None):
        self.calls.append((metrics, step))

    def finalize(self, status):
        self.calls.append(status)


class Raising(Recording):
    def log_metrics(self, metrics, step=None):
        super().log_metrics(metrics, step)
        raise OSError("disk full")


def test_a_logger_that_raises_is_warned_about_once_and_dropped(tmp_path, caplog):
    good, bad = Recording(), Raising()
    tracker = RunTracker([bad, good])
    tracker.log({"train.loss": 1.0}, 0)
    tracker.log({"train.loss": 0.5}, 1)
    tracker.samples(tmp_path / "missing.jsonl")  # neither takes texts
    tracker.finish({"score.acc": 0.5, "cell": "a"}, 1)
    assert good.calls == [({"train.loss": 1.0}, 0), ({"train.loss": 0.5}, 1), ({"result/score.acc": 0.5}, 1), "failed"]
    assert bad.calls == [({"train.loss": 1.0}, 0)]
    assert caplog.text.count("Raising failed (disk full)") == 1


def test_a_service_that_cannot_start_is_left_out_and_a_wrong_setting_is_refused(tmp_path, caplog):
    class Unstartable:
        def start(self, run):
            raise ConnectionError("no server")

    class Wrong:
        def start(self, run):
            raise SftdivError("no key")

    (tmp_path / "file").touch()
    track([Unstartable(), CsvTracking()], tmp_path)
    assert "Unstartable could not start (no server)" in caplog.text
    assert (tmp_path / "csv" / "cell-a" / "version_0" / "metrics.csv").exists()
    with pytest.raises(SftdivError, match="no key"):
        start_tracking([Wrong()], tracked_run(tmp_path))


def test_a_tracker_that_refuses_the_study_keeps_it_from_no_other(summary, caplog):
    class Refusing:
        def log_study(self, summary):
            raise OSError("disk full")

    study_summary.record([Refusing(), CsvTracking()], summary)
    assert "Refusing failed to record the study's summary: disk full" in caplog.text
    assert (summary.folder / "csv" / "study").is_dir()


def test_several_services_get_the_same_run(tmp_path, monkeypatch):
    import wandb

    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_SWEEP_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    options = [WandbTracking(project="p", entity=None, mode="auto", timeout=20), CsvTracking(), TensorBoardTracking()]
    track(options, tmp_path)
    wandb.teardown()
    (run,) = read_runs(tmp_path)
    assert [(line["_step"], line["train.loss"]) for line in run.history] == LOSSES and run.exit_code == 0
    assert run.summary["score.acc"] == 0.25 and "config.seed" not in run.summary and run.config == CONFIG
    assert len(rows(tmp_path / "csv" / "cell-a" / "version_0" / "metrics.csv")) == 3
    assert events(tmp_path / "tensorboard" / "cell-a")[0]["train.loss"] == LOSSES


def test_the_wandb_logger_has_lightnings_interface(tmp_path):
    from pytorch_lightning.loggers import Logger

    public = {name for name in dir(Logger) if not name.startswith("_")}
    assert not public - set(dir(WandbRunLogger))
    logger = WandbRunLogger(None, tracked_run(tmp_path))  # what a cell gets where W&B cannot start
    logger.log_hyperparams(CONFIG)
    logger.log_metrics({"train.loss": 1.0}, 0)
    logger.log_samples(tmp_path / "missing.jsonl")
    logger.finalize("success")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("option", "package"),
    [(TensorBoardTracking, "tensorboard"), (MlflowTracking, "mlflow"), (MlflowTracking, "alembic")],
)
def test_a_missing_package_is_named_with_its_extra(option, package, monkeypatch, local_mlflow):
    from importlib.util import find_spec

    monkeypatch.setattr(
        "sftdiv.tracking.run_tracker.find_spec", lambda name: None if name == package else find_spec(name)
    )
    extra = {"tensorboard": "tensorboard"}.get(package, "mlflow")
    with pytest.raises(SftdivError, match=rf"tracking={extra} needs {package}.*pip install 'sftdiv\[{extra}\]'"):
        option()


@pytest.fixture
def composed():
    register_resolvers()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        yield lambda *overrides: compose("config", overrides=list(overrides))


def test_options_are_chosen_alone_and_together(composed, monkeypatch, local_mlflow):
    assert build_tracking(composed("tracking=none")) == []
    changed = ["tracking.mode=offline", "tracking.project=mine", "tracking.entity=me", "tracking.timeout=5"]
    wandb = WandbTracking(project="mine", entity="me", mode="offline", timeout=5)
    assert build_tracking(composed(*changed)) == build_tracking(composed("tracking=wandb", *changed)) == [wandb]
    several = composed("tracking=[tensorboard,wandb,csv,mlflow]", *changed, "tracking.mlflow.experiment=mine")
    assert build_tracking(several) == [
        TensorBoardTracking(),
        wandb,
        CsvTracking(),
        MlflowTracking(experiment="mine"),
    ]
    with pytest.raises(SftdivError, match=r"tracking.mode='on' is unknown"):
        build_tracking(composed("tracking.mode=on"))
    with pytest.raises(SftdivError, match=r"must begin with the line '# @package tracking.NAME'"):
        build_tracking(OmegaConf.create({"tracking": {"_target_": "mine.Tracking"}}))


LIGHT = """
import sys
from pathlib import Path
from sftdiv.protocols import StudySummary, TrackedRun
from sftdiv.tracking.csv_files import CsvTracking
from sftdiv.tracking.mlflow import MlflowTracking
from sftdiv.tracking.run_tracker import start_tracking
from sftdiv.tracking.tensorboard import TensorBoardTracking
from sftdiv.tracking.wandb import WandbTracking
folder = Path(sys.argv[1])
wandb = WandbTracking(project="p", entity=None, mode="offline", timeout=20)
CsvTracking(), MlflowTracking(), TensorBoardTracking()
start_tracking([], None).finish({}, 0)
assert "wandb" not in sys.modules
run = TrackedRun(study="grid", name="cell-a", folder=folder, config={}, kind="level", tags=[])
start_tracking([wandb], run).finish({"n": 1}, 0)
wandb.log_study(StudySummary(folder=folder, name="grid", numbers={"slope": 1.0}, tables={}, figures={}, report=None))
heavy = {"torch", "pytorch_lightning", "mlflow", "tensorboard"} & set(sys.modules)
assert not heavy, heavy
"""


def test_wandb_and_the_options_need_no_torch(tmp_path):
    subprocess.run([sys.executable, "-c", LIGHT, str(tmp_path)], check=True, timeout=60)
    assert sorted(run.name for run in read_runs(tmp_path)) == ["cell-a", "study"]
    assert read_sealed(tmp_path / "wandb" / "study.json", way_out="") == {"slope": 1.0}
    assert not Path("mlruns").exists()
