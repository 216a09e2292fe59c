"""Base, random, full corpus and six ladders on synthetic worlds that nothing was tuned on, as a table.

    python benchmarks/embedded_study.py [overrides ...]

The table shows whether the synthetic corpus behaves like real data. World 0 has seeds 0, 1, 2 for every
strategy-side at three levels; worlds 1 and 2 have one seed for the paper's strategy. Each cell is a run
through `sftdiv.run.run`; finished cells are read back, so an interrupted study resumes. About 30 minutes
on two cores.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from sftdiv.config.from_python import compose_run
from sftdiv.pipeline.run_artifacts import RunArtifacts
from sftdiv.pipeline.scoring import evaluate
from sftdiv.run import run
from sftdiv.storage.cache import Store

SIDED = [
    (strategy, side) for strategy in ("micro_token", "meso_tag", "macro_topic") for side in ("response", "instruction")
]
LEVELS, SEEDS = (0.0, 0.5, 1.0), (0, 1, 2)
SCORES = ("sftdiv_embedded_mc.word_probability", "sftdiv_embedded_mc.acc", "sftdiv_embedded_gen.exact_match")
ROOT = Path("outputs").absolute()


def row(extra: list[str], *overrides: str) -> dict[str, Any]:
    """The row of one cell."""
    common = ["study=embedded_study", f"paths.outputs={ROOT}", "tracking=none", "samples=0"]
    return run(compose_run([*common, *overrides, *extra]))


def base_scores(extra: list[str], world: int) -> dict[str, float]:
    """Scores of the base model without fine-tuning."""
    request = compose_run([f"corpus.seed={world}", f"model.seed={world}", "tracking=none", *extra])
    artifacts = RunArtifacts(request.spec, Store(request.paths.cache))
    context = artifacts.eval_context(request.single_cell())
    scores = evaluate(request.spec, context, Path(artifacts.base().path))
    return {name: scores[f"score.{name}"] for name in SCORES}


def study(extra: list[str]) -> dict[str, list[dict[str, Any]]]:
    """All rows, by the label of their line in the table."""
    lines: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for world, seeds in ((0, SEEDS), (1, (0,)), (2, (0,))):
        in_world = [f"corpus.seed={world}", f"model.seed={world}"]
        for seed in seeds:
            everyone = (*in_world, f"seed={seed}", "strategy=random")
            lines[f"world {world}, random"].append(row(extra, *everyone))
            lines[f"world {world}, full corpus"].append(row(extra, *everyone, "size.n=9500", "selection.slack=1"))
            for (strategy, side), level in product(SIDED if world == 0 else SIDED[:1], LEVELS):
                chosen = (
                    *in_world,
                    f"seed={seed}",
                    f"strategy={strategy}",
                    f"strategy.side={side}",
                    f"diversity_level={level}",
                )
                lines[f"world {world}, {strategy} {side} {level:g}"].append(row(extra, *chosen))
    return lines


def overlap(rows: list[dict[str, Any]]) -> float:
    """Mean Jaccard overlap of the subsets of two seeds; NaN for one seed."""
    subsets = [
        set(
            pq.read_table(ROOT / each["study"] / each["cell"] / "subset.parquet", columns=["id"])
            .column("id")
            .to_pylist()
        )
        for each in rows
    ]
    shared = [len(a & b) / len(a | b) for a, b in combinations(subsets, 2)]
    return float(np.mean(shared)) if shared else float("nan")


def mean_and_spread(values: list[float]) -> str:
    """Mean and standard deviation over seeds."""
    return f"{np.mean(values):.3f}" + (f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else "")


def main() -> None:
    extra = sys.argv[1:]
    lines = study(extra)
    bases = {world: base_scores(extra, world) for world in (0, 1, 2)}
    head = [
        "line",
        "seeds",
        "k",
        "pool",
        "response tokens",
        "overlap",
        *(name.removeprefix("sftdiv_embedded_") for name in SCORES),
    ]
    print("| " + " | ".join(head) + " |\n|" + " --- |" * len(head))
    for world, scores in bases.items():
        print(f"| world {world}, base | | | | | | " + " | ".join(f"{scores[name]:.3f}" for name in SCORES) + " |")
    for name, rows in lines.items():
        length = np.mean([each["diversity.response.length"] for each in rows])
        cells = [
            name,
            str(len(rows)),
            f"{rows[0]['k_asked']:,} of {rows[0]['k_max']:,}",
            f"{rows[0]['pool']:,}",
            f"{length:.1f}",
            f"{overlap(rows):.2f}",
        ]
        print(
            "| "
            + " | ".join(cells + [mean_and_spread([each[f"score.{score}"] for each in rows]) for score in SCORES])
            + " |"
        )


if __name__ == "__main__":
    main()
