"""Negative control on the synthetic corpus: ten placebo ladders say nothing about the content of their examples."""

from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from sftdiv.config.from_python import compose_run
from sftdiv.pipeline import stages
from sftdiv.pipeline.run_artifacts import RunArtifacts
from sftdiv.storage.cache import Store

LEVELS, LADDERS = (0.0, 0.5, 1.0), 10


def slopes(strategy: str, cache: Path) -> list[float]:
    """Slope on the level, for each ladder, of the share of real unit types (not the permuted ones) in the subset."""
    found = []
    for replicate in range(LADDERS):
        shares = []
        for level in LEVELS:
            settings = ["corpus.samples=2000", "size.n=200", "selection.match=length+source", "embedder=none"]
            settings += [f"strategy={strategy}", f"replicate={replicate}", f"diversity_level={level}"]
            spec = compose_run([*settings, "stop_after=select", "corpus.band.low=2"]).spec
            artifacts = RunArtifacts(spec, Store(cache))
            real, units = artifacts.data.units(spec.strategy), stages.find_units(spec, artifacts)
            universe = stages.find_universe(spec, artifacts, units)
            selection = stages.select(spec, artifacts, units, universe)
            shares.append(len(np.unique(real.matrix[selection.indices].indices)) / real.matrix.shape[1])
        found.append(float(np.polyfit(LEVELS, shares, 1)[0]))
    return found


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize(("strategy", "rises"), [("micro_token", True), ("placebo", False)])
def test_only_real_units_have_a_slope(cache, strategy, rises):
    over_ladders = slopes(strategy, cache)
    p = scipy.stats.ttest_1samp(over_ladders, 0).pvalue
    if rises:
        assert np.mean(over_ladders) > 0.05 and p < 1e-6
    else:
        assert abs(np.mean(over_ladders)) < 0.01 and p > 0.05
