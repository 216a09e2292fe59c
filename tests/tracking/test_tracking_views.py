"""What is handed to W&B to work with: the workspace, and the sweep that its agents run."""

import itertools
import sys
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from sftdiv.config.app import conf_dir, register_resolvers
from sftdiv.config.compose import prepare
from sftdiv.records import SftdivError
from sftdiv.tracking.workspace import build_workspace, save_workspace

pytestmark = pytest.mark.filterwarnings("ignore:Pydantic V1 style:DeprecationWarning")  # wandb-workspaces' own
SWEEP = Path(__file__).parents[2] / "sweep.yaml"
SCORE, SLOPES = "score.acc", ("slope.a", "slope.b")


def workspace(**changes):
    return build_workspace(
        **{"entity": "me", "project": "p", "study": "grid", "score": SCORE, "slopes": SLOPES} | changes
    )


def panels(built):
    """Every panel by its title, as it is sent."""
    sections = built._to_model().model_dump(by_alias=True, exclude_none=True)["spec"]["section"]["panelBankConfig"][
        "sections"
    ]
    sent = [panel for section in sections for panel in section["panels"]]
    return {panel["config"].get("chartTitle"): panel for panel in sent}


def test_the_workspace_shows_the_runs_of_one_study():
    section = workspace()._to_model().model_dump(by_alias=True, exclude_none=True)["spec"]["section"]
    (runs,) = section["runSets"]
    assert "grid" in str(runs["filters"]) and "group" in str(runs["filters"])
    assert {"summary:level", f"summary:{SCORE}"} <= runs["runFeed"]["columnPinned"].keys()


def test_the_panels_read_what_runs_hold():
    sent = panels(workspace())
    against = sent[f"{SCORE} against level"]
    assert against["viewType"] == "Scatter Plot"
    assert (against["config"]["xAxis"], against["config"]["yAxis"]) == ("summary:level", f"summary:{SCORE}")
    assert sent[f"{SCORE} by strategy"]["config"]["groupBy"] == "strategy.value.name"
    assert sent["Training loss"]["config"]["metrics"] == ["train.loss"]
    assert sent["Slopes"]["config"]["metrics"] == [f"summary_metrics.{name}" for name in SLOPES]
    (parallel,) = [panel for panel in sent.values() if panel["viewType"] == "Parallel Coordinates Plot"]
    assert [column["accessor"] for column in parallel["config"]["columns"]][:2] == [
        "config:strategy.value.name",
        "summary:level",
    ]
    assert "Slopes" not in panels(workspace(slopes=()))


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    with pytest.raises(SftdivError, match=r"pip install 'sftdiv\[workspaces\]'"):
        workspace()


def test_saving_needs_an_account(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    with pytest.raises(SftdivError, match="needs an account"):
        save_workspace(workspace())


def commands():
    """Every command of the sweep, as W&B's agent makes it from the file and the parameters of one run."""
    sweep = yaml.safe_load(SWEEP.read_text(encoding="utf-8"))
    names, values = zip(*((name, each["values"]) for name, each in sweep["parameters"].items()), strict=True)
    for combination in itertools.product(*values):
        given = {"args": {name: {"value": value} for name, value in zip(names, combination, strict=True)}}
        macros = create_sweep_command_args(given) | {
            "env": ["env"],
            "interpreter": ["python"],
            "program": [sweep["program"]],
        }
        words = create_sweep_command(list(sweep["command"]))
        yield [word for part in words for word in (macros[part[2:-1]] if part.startswith("${") else [part])]


def test_every_run_of_the_sweep_is_a_command_of_sftdiv():
    register_resolvers()
    GlobalHydra.instance().clear()
    composed = set()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        for command in commands():
            assert command[:4] == ["env", "python", "-m", "sftdiv.run"]
            config = compose("config", overrides=command[4:])
            prepare(config, command[4:])
            assert config.study == "wandb_sweep" and config.tracking.project == "sftdiv"
            composed.add((config.strategy.name, config.strategy.side, config.diversity_level, config.seed))
    assert len(composed) == 3 * 2 * 5


def test_the_sweep_optimises_the_score_that_its_cells_have():
    sweep = yaml.safe_load(SWEEP.read_text(encoding="utf-8"))
    primary = yaml.safe_load((conf_dir() / "eval" / "embedded.yaml").read_text(encoding="utf-8"))["primary"]
    assert sweep["metric"] == {"name": f"score.{primary}", "goal": "maximize"}
