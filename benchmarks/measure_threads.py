"""Seconds of ``measure embedder=minilm`` on a small dataset in two source trees, in turn, from an empty cache.

    python benchmarks/measure_threads.py POOL.parquet before=/path/to/old/tree after=. --pairs 500 --rounds 2

The variables that set the threads of BLAS and OpenMP are unset, as on a user's machine. The trees alternate, so that
other work on the machine slows both; ``user`` are the seconds of all threads, which spinning threads raise most.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def sample(pool: Path, pairs: int, path: Path) -> None:
    """Write a random sample of a pool's pairs as Parquet."""
    table = pq.read_table(pool, columns=["instruction", "response"])
    pq.write_table(table.take(sorted(random.Random(0).sample(range(len(table)), pairs))), path)


def measure(tree: Path, data: Path, threads: str | None) -> tuple[float, float]:
    """Elapsed seconds and seconds of all threads of one measurement from an empty cache."""
    environment = {name: value for name, value in os.environ.items() if name not in THREADS}
    environment |= {"PYTHONPATH": str(tree.resolve())} | ({"OMP_NUM_THREADS": threads} if threads else {})
    with tempfile.TemporaryDirectory() as folder:
        paths = [f"paths.cache={folder}/cache", f"paths.outputs={folder}/outputs"]
        command = [sys.executable, "-m", "sftdiv.measure", "corpus=files", f"corpus.path={data}", "embedder=minilm"]
        used, started = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime, time.perf_counter()
        subprocess.run([*command, *paths], env=environment, cwd=folder, check=True, capture_output=True)
        elapsed = time.perf_counter() - started
        return elapsed, resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - used


def main() -> None:
    """Run the rounds and print every time, then medians as ratios to the first tree."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pool", type=Path)
    parser.add_argument("trees", nargs="+", help="LABEL=PATH, or LABEL=PATH:THREADS for a set number of threads")
    parser.add_argument("--pairs", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    times: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "pairs.parquet"
        sample(options.pool, options.pairs, data)
        for number in range(options.rounds):
            for text in options.trees:
                label, _, place = text.partition("=")
                tree, _, threads = place.partition(":")
                elapsed, user = measure(Path(tree), data, threads or None)
                times.setdefault(label, []).append((elapsed, user))
                load = os.getloadavg()[0]
                print(f"round {number + 1}: {label} {elapsed:.1f} s, user {user:.1f} s, load {load:.1f}", flush=True)
    medians = {
        label: [statistics.median(column) for column in zip(*runs, strict=True)] for label, runs in times.items()
    }
    first = next(iter(medians.values()))
    for label, (elapsed, user) in medians.items():
        ratios = f"{first[0] / elapsed:.2f} times as fast as the first, user {first[1] / user:.2f}"
        print(f"median {label}: {elapsed:.1f} s, user {user:.1f} s: {ratios}")


if __name__ == "__main__":
    main()
