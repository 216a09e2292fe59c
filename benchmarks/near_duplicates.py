"""Near duplicates among 117,000 real pairs: groups, CPU seconds on one core, memory, share of true groups found.

    python benchmarks/near_duplicates.py ../shared/data/pool-117k.parquet > benchmarks/near_duplicates.txt

The true groups come from an exact search of all pairs on a sample of the responses. Results of a run:
near_duplicates.txt.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow.parquet as pq

from sftdiv.data.dedup import NearDuplicates, intersect, near_duplicates
from sftdiv.data.jaccard_pairs import similar_pairs
from sftdiv.data.shingles import shingle_sets

SETTINGS = {"threshold": 0.8, "unit": "words", "shingle": 5, "permutations": 128, "recall": 0.95, "seed": 0}
SAMPLE = 10_000


def timed(find: Callable[[], NearDuplicates]) -> tuple[NearDuplicates, float]:
    started = time.process_time()
    return find(), time.process_time() - started


def texts_of(path: str, side: str) -> Iterator[str]:
    """The texts of one side of the pool, with the input joined to the instruction as in a corpus."""
    for batch in pq.ParquetFile(path).iter_batches(1000, columns=["instruction", "input", "response"]):
        for row in batch.to_pylist():
            yield f"{row['instruction']}\n\n{row['input']}" if side == "instruction" and row["input"] else row[side]


def main() -> None:
    path = sys.argv[1]
    near_duplicates(["a", "b"], **SETTINGS)  # compiles
    sides = {}
    for side in ("instruction", "response"):
        groups, seconds = timed(lambda: near_duplicates(texts_of(path, side), **SETTINGS))  # noqa: B023  # called at once
        sides[side] = groups
        bands = f"bands {groups.made_by['bands']} x {groups.made_by['rows']}"
        print(f"{side}: {groups.counts()}, {seconds:.1f} CPU seconds, {bands}")
    print(f"pair: {intersect(sides['instruction'], sides['response']).counts()}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")
    texts = list(texts_of(path, "response"))
    sample = [texts[at] for at in np.random.default_rng(0).choice(len(texts), SAMPLE, replace=False)]
    sets = shingle_sets(sample, unit="words", size=5)
    started = time.process_time()
    pairs = similar_pairs(sets, np.arange(len(sets)), np.array([0, len(sets)]), threshold=0.8)
    true_groups = len(sets) - len(pairs)  # the pairs span each component
    print(f"all pairs of {SAMPLE} responses: {true_groups} groups, {time.process_time() - started:.1f} CPU seconds")
    groups, seconds = timed(lambda: near_duplicates(sample, **SETTINGS))
    print(f"by bands: {len(np.unique(groups.group))} groups, {seconds:.1f} CPU seconds")


if __name__ == "__main__":
    main()
