"""Overhead of a sweep's cell, beside its training and evaluation, on the synthetic corpus with a warm cache.

    python benchmarks/cell_overhead.py [overrides ...]

One sweep of four cells in turn. The wall time of a cell runs from the previous row to its own row. What is
neither training nor evaluation is overhead: child process, corpus, units, ladder, draw, diversity, samples,
tracking. The first cell is excluded, since it also starts the server that imports torch and builds what
the cache lacks. The table also has the time of the same command once all cells are finished.
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
    """Run the sweep; returns its seconds."""
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
            seconds = overheads(Path(name) / "overhead")
            again = sweep(Path(name), tracking, sys.argv[1:])
        listed = ", ".join(f"{overhead:.2f}" for overhead in seconds)
        print(f"| {tracking} | {listed} | {again:.1f} in all, analysis and report included |")


if __name__ == "__main__":
    main()
