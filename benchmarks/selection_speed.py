"""Seconds of selection alone on 117,000 real pairs: the ladder and all seven draws from warm units, unmatched and length-matched.

    python benchmarks/selection_speed.py ../shared/data/pool-117k.parquet [overrides ...]

A first, uncounted pass compiles the kernels.
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

import numpy as np
from hydra import compose, initialize_config_dir

from sftdiv.artifacts import Artifacts, plain
from sftdiv.command import conf_dir, register_resolvers
from sftdiv.records import Units, Universe
from sftdiv.selection.choose import build_ladders, choose
from sftdiv.selection.universe import build_universe
from sftdiv.store import Store

SIZE, LEVELS = 10_000, tuple(step / 6 for step in range(7))


def seconds(units: Units, universe: Universe) -> tuple[float, float]:
    """Seconds of the ladder, and of the seven draws together."""
    started = time.perf_counter()
    ladders = build_ladders(units, universe, prune="support", seed=0)
    built = time.perf_counter()
    weights = np.ones(units.matrix.shape[0])
    for level in LEVELS:
        choose(units, universe, ladders, level=level, size=SIZE, weights=weights, k_min="auto", slack=1.5, seed=0)
    return built - started, time.perf_counter() - built


def main() -> None:
    register_resolvers()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose("config", overrides=["corpus=files", f"corpus.path={sys.argv[1]}", "strategy=micro_token", *sys.argv[2:]])
    artifacts = Artifacts(config, Store(Path(config.paths.cache).expanduser()))
    units = artifacts.units(plain(config.strategy))
    lengths = np.array([len(text.split()) for text in artifacts.texts("response")])
    left_out = {"heldout": np.array(artifacts.corpus.column("heldout")), "read_by_base": artifacts.read_by_base}
    left_out |= {"no_unit": np.diff(units.matrix.indptr) == 0}
    for match in ("none", "length"):
        universe = build_universe(left_out, lengths=lengths, sources=artifacts.corpus.column("source"), match=match)
        seconds(units, universe)
        ladder, draws = seconds(units, universe)
        size = f"{len(universe.indices):,} examples, {units.matrix[universe.indices].nnz:,} non-zeros"
        print(f"match={match}: ladder {ladder:.2f} s, seven draws {draws:.2f} s ({size})")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
