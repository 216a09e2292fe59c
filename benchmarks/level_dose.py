"""What a diversity level does at small sizes: types and entropy of subsets by size and level; see `level_dose.md`.

    python benchmarks/level_dose.py --pool ../shared/data/pool-117k.parquet
    python benchmarks/level_dose.py --pool ../shared/data/pool-117k.parquet --study --tasks /tmp/sftdiv-mmlu/tasks

Units are the tokens (tokenizer ``lexical``) of the pool's responses that 10 to 500 responses have. Subsets are drawn at
five levels, with both values of ``selection.draw_order``, beside uniform draws from the same universe, unmatched and
matched by length. With ``--study``: size, universe, units and strata of ``+experiment=real_study``, replicate 0.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sftdiv.config.from_python import compose_run
from sftdiv.pipeline.run_artifacts import RunArtifacts
from sftdiv.pipeline.stages import find_units, find_universe
from sftdiv.records import Ladder, Units, Universe
from sftdiv.selection.choose import build_ladders
from sftdiv.selection.draw import draw_evenly
from sftdiv.selection.level import k_of_level, smallest_k
from sftdiv.selection.quotas import divide_size
from sftdiv.storage.cache import Store

SIZES, LEVELS, DRAWS, SLACK = (500, 2000, 10_000), (0.0, 0.25, 0.5, 0.75, 1.0), 3, 1.5
Rows = NDArray[np.int64]


def described(units: Units, rows: Rows) -> tuple[int, float]:
    """Distinct types of some rows, and the entropy of their units in bits."""
    counts = np.bincount(units.matrix[rows].indices)
    shares = counts[counts > 0] / counts.sum()
    return len(shares), float(-(shares * np.log2(shares)).sum())


def subset(
    units: Units, universe: Universe, ladders: list[Ladder], size: int, level: float | None, seed: int, rarest: bool
) -> Rows:
    """Rows of a subset at a level, stratum by stratum; None for a uniform draw."""
    quotas = divide_size(np.bincount(universe.strata), size, whole=True).astype(int)
    parts = []
    for stratum, (ladder, quota) in enumerate(zip(ladders, quotas, strict=True)):
        rng = np.random.default_rng([seed, stratum])
        rows = universe.indices[universe.strata == stratum]
        if level is None:
            parts.append(rng.choice(rows, quota, replace=False))
            continue
        weights = np.ones(len(rows))
        lowest = smallest_k(ladder, weights, min(SLACK * quota, len(rows)))
        pool = rows[ladder.pool(k_of_level(level, lowest, ladder.k_max))]
        drawn = draw_evenly(units.matrix, np.ones(len(pool)), quota, rng=rng, rows=pool, rarest_first=rarest)
        parts.append(pool[drawn])
    return np.concatenate(parts)


def table(overrides: list[str], cache: Path, sizes: tuple[int, ...]) -> None:
    """Print types and entropy by size and level, each the mean of ``DRAWS`` draws."""
    spec = compose_run(overrides).spec
    artifacts = RunArtifacts(spec, Store(cache))
    units = find_units(spec, artifacts)
    universe = find_universe(spec, artifacts, units)
    ladders = build_ladders(units, universe, prune="support", seed=0)
    types, mean = described(units, universe.indices)[0], units.matrix.nnz / units.matrix.shape[0]
    print(f"\n{len(universe.indices):,} responses, {types:,} types, {mean:.1f} units a response\n")
    print("| N | draw | " + " | ".join(f"level {level:g}" for level in LEVELS) + " | uniform |\n|" + " --- |" * 8)
    for size in sizes:
        for name, rarest in (("rarest first", True), ("random order", False)):
            fields = []
            for level in (*LEVELS, None):
                found = [
                    described(units, subset(units, universe, ladders, size, level, seed, rarest))
                    for seed in range(DRAWS)
                ]
                reached, entropy = np.mean(found, axis=0)
                fields.append(f"{reached:,.0f} ({entropy:.2f})")
            print(f"| {size:,} | {name} | " + " | ".join(fields) + " |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path("~/.cache/sftdiv"))
    parser.add_argument("--study", action="store_true")
    parser.add_argument("--tasks", type=Path, help="tasks of benchmarks/local_tasks.py, for --study")
    options = parser.parse_args()
    path, store = f"corpus.path={options.pool.absolute()}", options.cache.expanduser()
    if options.study:
        table(["+experiment=real_study", path, f"eval.include_path={options.tasks}", "replicate=0"], store, SIZES[:1])
    else:
        plain = ["corpus=files", path, "strategy=micro_token", "strategy.tokenizer=lexical", "size=0.5k"]
        for match in ("none", "length"):
            table([*plain, "stop_after=select", "embedder=none", f"selection.match={match}"], store, SIZES)
