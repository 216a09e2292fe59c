"""Replicates and seeds: what ``replicate=1`` and ``seed=1`` set, and how they name cells."""

from pathlib import Path

import pytest

from sftdiv.config.from_python import compose_run
from sftdiv.records import SftdivError


def cell_and_seeds(*overrides):
    spec = compose_run(list(overrides)).spec
    name = spec.cell("study", Path("/root")).name
    columns = spec.columns()
    return name.split("-")[-2], tuple(columns[f"seed.{step}"] for step in ("ladder", "draw", "train"))


@pytest.mark.parametrize(
    ("overrides", "label", "seeds"),
    [
        ([], "s0", (0, 0, 0)),
        (["replicate=2"], "r2s2", (2, 2, 2)),  # everything that is random, the ladder included
        (["seed=2"], "s2", (0, 2, 2)),  # the ladder is shared
        (["replicate=2", "seed=1"], "r2s1", (2, 1, 1)),
        (["seed.train=3"], "s0t3", (0, 0, 3)),
        (["seed.ladder=4", "seed.draw=5"], "r4s5t0", (4, 5, 0)),
        (["seed.train=3", "stop_after=select"], "s0", (0, 0, 3)),  # nothing is trained
    ],
)
def test_a_replicate_sets_all_seeds_and_a_seed_leaves_the_ladder(overrides, label, seeds):
    assert cell_and_seeds(*overrides) == (label, seeds)


def test_cells_of_one_ladder_and_of_all_replicates_share_the_hash():
    names = [
        compose_run(changes).spec.cell("study", Path("/root")).name for changes in (["seed=1"], ["replicate=1"], [])
    ]
    assert len(set(names)) == 3 and len({name.rpartition("-h")[2] for name in names}) == 1


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["replicate=-1"], "replicate=-1 must be a whole number of at least 0"),
        (["seed.draw=x"], "seed.draw='x' must be a whole number"),
        (["seed=1", "seed.train=2"], "seed.train is set by seed=NUMBER already: give seed.draw and seed.train"),
        (["selection.seed=1"], "selection.seed has become seed.ladder"),
        (["selection.replicate=0.5"], "selection.replicate has become selection.universe_share"),
    ],
)
def test_invalid_and_renamed_seeds_are_named_with_the_way_out(overrides, message):
    with pytest.raises(SftdivError, match=message):
        compose_run(overrides)
