"""What a cell of a sweep costs beside its training and its evaluation, on the embedded default with a warm store.

    python benchmarks/cell_overhead.py [overrides ...]

One real sweep of four cells in turn. A cell's wall time runs from the row before it to its own row;
what is neither its training nor its evaluation is the overhead: the child process, corpus, units,
ladder, draw, diversity, samples, tracking. The first is left out: it also starts the server that
imports torch, and builds what the store lacks. Beside it, the time of the same command once all
cells are done.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

SEEDS = 4


def sweep(folder: Path, tracking: str, extra: list[str]) -> float:
    """Run the sweep; gives its seconds."""
    settings = [
        f"seed={','.join(map(str, range(SEEDS)))}",
        "study=overhead",
        f"paths.multirun={folder}",
        f"tracking={tracking}",
    ]
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "sftdiv.run", "-m", *settings, *extra], check=True, capture_output=True)
    return time.perf_counter() - started


def overheads(study: Path) -> list[float]:
    """Seconds of each cell but the first that are neither training nor evaluation."""
    ended = sorted(
        (path.stat().st_mtime, json.loads(path.read_text(encoding="utf-8"))) for path in study.glob("*/result.json")
    )
    return [until - since - row["time.train"] - row["time.evaluate"] for (since, _), (until, row) in pairwise(ended)]


def main() -> None:
    print("| tracking | overhead of cells 2 to 4, s | skipping 4 finished cells, s |\n| --- | --- | --- |")
    for tracking in ("none", "wandb"):
        with tempfile.TemporaryDirectory() as name:
            sweep(Path(name), tracking, sys.argv[1:])
            found = overheads(Path(name) / "overhead")
            again = sweep(Path(name), tracking, sys.argv[1:])
        print(
            f"| {tracking} | {', '.join(f'{seconds:.2f}' for seconds in found)} | {again:.1f} in all, analysis and report included |"
        )


if __name__ == "__main__":
    main()
