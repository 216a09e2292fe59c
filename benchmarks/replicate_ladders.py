"""How much the ladders of replicates differ: Jaccard similarity of their kept types and of their pools.

    python benchmarks/replicate_ladders.py POOL.parquet

micro_token on the responses, words, 10,000 examples, levels 1/3 and 2/3, three replicates at each of three values of
``selection.universe_share``. With the whole universe replicates differ in the order of equal types alone.
"""

from __future__ import annotations

import sys
from itertools import combinations
from pathlib import Path

from sftdiv.config.from_python import compose_run
from sftdiv.pipeline import stages
from sftdiv.pipeline.run_artifacts import RunArtifacts
from sftdiv.selection.choose import build_ladders
from sftdiv.selection.level import k_of_level, smallest_k
from sftdiv.storage.cache import Store

SHARES, LEVELS, REPLICATES, SIZE, SLACK = (1.0, 0.8, 0.5), (1 / 3, 2 / 3), 3, 10_000, 1.5


def kept(pool: str, share: float, level: float, replicate: int, store: Store) -> tuple[set[int], set[int]]:
    """Types and examples that a level keeps in one replicate."""
    settings = ["corpus=files", f"corpus.path={pool}", "stop_after=select", "embedder=none", "strategy.tokenizer=words"]
    settings += [f"size.n={SIZE}", f"replicate={replicate}", f"selection.universe_share={share}"]
    spec = compose_run(settings).spec
    artifacts = RunArtifacts(spec, store)
    units = stages.find_units(spec, artifacts)
    rows = stages.find_universe(spec, artifacts, units)
    ladder = build_ladders(units, rows, prune="support", seed=spec.seeds.ladder)[0]
    lowest = smallest_k(ladder, rows.indices * 0 + 1.0, SLACK * SIZE)
    k = k_of_level(level, lowest, ladder.k_max)
    return set(ladder.type_order[-k:].tolist()), set(rows.indices[ladder.pool(k)].tolist())


def similarity(sets: list[set[int]]) -> str:
    """Smallest and largest Jaccard similarity of two of the sets."""
    values = [len(one & two) / len(one | two) for one, two in combinations(sets, 2)]
    return f"{min(values):.2f} to {max(values):.2f}"


def main(pool: str) -> None:
    """Print a table with one row per share and level."""
    request = compose_run(["stop_after=select"])
    store = Store(Path(request.paths.cache))
    print("| universe_share | level | types | pools |\n| --- | --- | --- | --- |")
    for share in SHARES:
        for level in LEVELS:
            types, pools = zip(*(kept(pool, share, level, each, store) for each in range(REPLICATES)), strict=True)
            print(f"| {share} | {level:.2f} | {similarity(list(types))} | {similarity(list(pools))} |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
