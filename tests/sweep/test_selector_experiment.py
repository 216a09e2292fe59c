"""``experiment=selectors``: which cells it has, all of one universe, side and size."""

from collections import Counter

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from sftdiv.config.from_python import compose_run
from sftdiv.config.groups import conf_dir
from sftdiv.config.sweeper import swept_values
from sftdiv.sweep.grid import baseline_axes, grid

PARSER = OverridesParser.create()


def axes_of(overrides):
    return swept_values(overrides, PARSER)


def test_the_cells_of_the_comparison(composed):
    params = OmegaConf.load(conf_dir() / "experiment" / "selectors.yaml").hydra.sweeper.params
    axes = axes_of(["+experiment=selectors", *(f"{key}={value}" for key, value in params.items())])
    baselines = OmegaConf.to_container(composed("+experiment=selectors").sweep.baselines)
    grids = {name: grid(baseline_axes(axes, settings, axes_of, str)) for name, settings in baselines.items()}
    grids["selectors"] = grid(axes)
    assert {name: len(cells) for name, cells in grids.items()} == {
        "random": 2 * 3 * 3,  # matches x replicates x draws
        "full": 1,
        "base": 1,
        "levels": 3 * 2 * 3,
        "perplexity": 3 * 2 * 3,
        "coverage": 2 * 2 * 3,
        "ifd": 3,  # unmatched alone
        "instag": 2 * 3,
        "mig": 2 * 3,
        "selectors": 5 * 2 * 3,
    }
    specs = {name: [compose_run(cells[0]).spec, compose_run(cells[-1]).spec] for name, cells in grids.items()}
    rivals = Counter(spec.selection.rival for first_and_last in specs.values() for spec in first_and_last)
    assert rivals == {
        None: 8,
        "perplexity": 2,
        "coverage": 2,
        "ifd": 2,
        "instag": 2,
        "mig": 2,
        "longest": 1,
        "log_det": 1,
    }
    compared = [spec for name, pair in specs.items() if name not in ("full", "base") for spec in pair]
    settings = {(each.selection.universe_name, each.strategy.side, each.selection.size.n) for each in compared}
    assert settings == {("micro_token", "response", 500)}
    assert {spec.seeds.ladder for spec in compared} == {0, 2}
    assert [spec.seeds.draw for spec in specs["random"]] == [0, 2]
