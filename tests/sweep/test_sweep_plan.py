"""Which cells a sweep has: the grid, its baselines, each cell once, and refused settings as failures."""

import json

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from sftdiv.config.app import study_of_command
from sftdiv.config.compose import prepare
from sftdiv.config.from_python import compose_run
from sftdiv.config.sweeper import swept_values
from sftdiv.records import SftdivError
from sftdiv.storage.cell import FAILURE, write_failure
from sftdiv.sweep.devices import lock_gpus, visible_gpus
from sftdiv.sweep.grid import baseline_axes, grid
from sftdiv.sweep.plan import PlannedCell, load_plan, save_plan

PARSER = OverridesParser.create()


def axes_of(overrides):
    return swept_values(overrides, PARSER)


def test_a_grid_is_every_combination_and_the_last_word_on_a_setting_holds():
    axes = axes_of(["strategy=a,b", "seed=0,1,2", "+experiment=e", "seed=4,5"])
    assert grid(axes) == [
        ["strategy=a", "seed=4", "+experiment=e"],
        ["strategy=a", "seed=5", "+experiment=e"],
        ["strategy=b", "seed=4", "+experiment=e"],
        ["strategy=b", "seed=5", "+experiment=e"],
    ]


def test_a_baseline_takes_the_grids_values_for_what_it_does_not_name():
    swept = [
        "strategy=a,random,b",
        "strategy.side=response",
        "strategy.tokenizer=model,words",
        "diversity_level=0,1/2,1",
        "seed=0,1",
    ]
    axes = axes_of(swept)
    beside = baseline_axes(
        axes, {"strategy": "random", "selection.universe": "{strategy}", "diversity_level": 1}, axes_of, lambda key: "x"
    )
    assert grid(beside) == [
        [
            "strategy=random",
            "strategy.side=response",
            "diversity_level=1",
            f"seed={seed}",
            f"selection.universe={universe}",
        ]
        for seed in (0, 1)
        for universe in ("a", "b")
    ]


def test_a_baseline_of_what_is_not_swept_takes_the_current_value_and_none_stands_for_random():
    settings = {"strategy": "random", "selection.universe": "{strategy}"}
    assert grid(baseline_axes({}, settings, axes_of, lambda key: "meso_tag")) == [
        ["strategy=random", "selection.universe=meso_tag"]
    ]
    assert baseline_axes(axes_of(["strategy=random"]), settings, axes_of, lambda key: "x") == {}


def test_a_continuous_range_has_no_values():
    with pytest.raises(SftdivError, match=r"diversity_level=interval\(0,1\) is a continuous range; list its values"):
        axes_of(["diversity_level=interval(0,1)"])


def test_levels_may_be_fractions(composed):
    config = composed("diversity_level=2/6")
    prepare(config, [])
    assert config.diversity_level == 1 / 3
    with pytest.raises(SftdivError, match=r"diversity_level='1/0' must be a number in \[0, 1\]"):
        compose_run(["diversity_level=1/0"])
    with pytest.raises(SftdivError, match=r"diversity_level=1.5 must be a number in \[0, 1\]"):
        compose_run(["diversity_level=3/2"])


def test_a_baseline_of_another_strategy_drops_the_options_of_the_grids_own():
    axes = axes_of(["strategy=meso_tag", "strategy/tagger=keyphrase", "strategy/normalise=none,light", "seed=0,1"])
    settings = {"strategy": "random", "selection.universe": "{strategy}"}
    assert sorted(baseline_axes(axes, settings, axes_of, lambda key: "x")) == ["seed", "selection.universe", "strategy"]


@pytest.mark.parametrize(
    "overrides",
    [
        ["strategy=macro_topic", "strategy/clusterer=kmeans,hdbscan"],
        ["strategy=meso_tag", "strategy/tagger=keyphrase"],
        ["strategy=meso_tag", "strategy/normalise=none,light"],
        ["strategy=micro_token", "strategy.tokenizer=model,words"],
    ],
)
def test_every_cell_of_a_grid_over_the_options_of_a_strategy_composes(overrides, composed):
    """The baselines of ``sweep=grid`` leave out what other strategies lack."""
    baselines = OmegaConf.to_container(composed("sweep=grid").sweep.baselines)
    axes = axes_of([*overrides, "diversity_level=0,1", "replicate=0"])
    cells = [cell for settings in baselines.values() for cell in grid(baseline_axes(axes, settings, axes_of, str))]
    assert len(cells) == 3
    for cell in [*cells, *grid(axes)]:
        assert compose_run(cell)


def test_a_study_is_named_by_its_experiment():
    assert study_of_command(["+experiment=embedded_grid", "seed=0"]) == "embedded_grid"
    assert study_of_command(["-m", "seed=0,1", "sweep.on_error=stop"]) == study_of_command(["-m", "seed=0,1"])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["size.label_tokens=many"], "size.label_tokens='many' must be a whole number"),
        (["selection.k_min_size=0"], "selection.k_min_size=0 must be a whole number of at least 1"),
        (["sweep.on_error=panic"], "sweep.on_error='panic' is unknown.*continue, stop"),
        (["sweep.isolate=fork"], "sweep.isolate='fork' is unknown.*true, false, forkserver, spawn"),
    ],
)
def test_wrong_values_of_a_sweep_are_refused(overrides, message):
    with pytest.raises(SftdivError, match=message):
        compose_run(overrides)


def test_a_plan_is_read_back_and_folders_say_how_far_a_cell_is(tmp_path):
    cells = [PlannedCell((f"seed={seed}",), tmp_path / f"cell{seed}") for seed in range(3)]
    save_plan(cells, tmp_path, "python -m sftdiv.run -m seed=0,1,2")
    command, read = load_plan(tmp_path)
    assert (command, read) == ("python -m sftdiv.run -m seed=0,1,2", cells)
    write_failure(cells[0].folder, "train", "SftdivError: a loss is not finite")
    cells[1].folder.mkdir()
    (cells[1].folder / "result.json").write_text("{}")
    write_failure(cells[1].folder, "train", "from before it was resumed")
    assert [(cell.done, cell.failed) for cell in cells] == [(False, True), (True, False), (False, False)]
    assert json.loads((cells[0].folder / FAILURE).read_text())["stage"] == "train"


def test_two_cells_on_one_machine_never_share_a_gpu(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-a1")
    with lock_gpus(count=1, locks=tmp_path) as first, lock_gpus(count=1, locks=tmp_path) as second:
        assert [first, second] == [{"CUDA_VISIBLE_DEVICES": "2"}, {"CUDA_VISIBLE_DEVICES": "GPU-a1"}]
    with lock_gpus(count=1, locks=tmp_path) as third, lock_gpus(count=0, locks=tmp_path) as none:
        assert (third, none) == ({"CUDA_VISIBLE_DEVICES": "2"}, {})
    with lock_gpus(count=None, locks=tmp_path) as both, lock_gpus(count=3, locks=tmp_path) as too_many:
        assert (both, too_many) == ({"CUDA_VISIBLE_DEVICES": "2,GPU-a1"}, {})
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == []
