"""Near duplicates among 117,000 real pairs: groups, CPU seconds on one core, memory, and how many of the true groups are found.

    python benchmarks/near_duplicates.py ../shared/data/pool-117k.parquet > benchmarks/near_duplicates.txt

The truth is the exact search of all pairs, on a sample of the responses. Results of a run:
near_duplicates.txt.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sftdiv.data.dedup import NearDuplicates, both, column_texts, near_duplicates
from sftdiv.data.jaccard_pairs import similar_pairs
from sftdiv.data.shingles import shingle_sets

SETTINGS = {"threshold": 0.8, "unit": "words", "shingle": 5, "permutations": 128, "recall": 0.95, "seed": 0}
SAMPLE = 10_000


def timed(find: Callable[[], NearDuplicates]) -> tuple[NearDuplicates, float]:
    started = time.process_time()
    return find(), time.process_time() - started


def joined(path: str) -> Iterator[pa.Table]:
    """The pool a thousand rows at a time, the input joined to the instruction as the corpus does."""
    for batch in pq.ParquetFile(path).iter_batches(1000, columns=["instruction", "input", "response"]):
        asked = [
            f"{row['instruction']}\n\n{row['input']}" if row["input"] else row["instruction"]
            for row in batch.to_pylist()
        ]
        yield pa.table({"instruction": asked, "response": batch.column("response")})


def main() -> None:
    path = sys.argv[1]
    near_duplicates(["a", "b"], **SETTINGS)  # compiles
    sides = {}
    for side in ("instruction", "response"):
        found, seconds = timed(lambda: near_duplicates(column_texts(joined(path), side), **SETTINGS))  # noqa: B023  # called at once
        sides[side] = found
        print(
            f"{side}: {found.counts()}, {seconds:.1f} CPU seconds, bands {found.made_by['bands']} x {found.made_by['rows']}"
        )
    print(f"pair: {both(sides['instruction'], sides['response']).counts()}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")
    texts = list(column_texts(joined(path), "response"))
    sample = [texts[at] for at in np.random.default_rng(0).choice(len(texts), SAMPLE, replace=False)]
    sets = shingle_sets(sample, unit="words", size=5)
    started = time.process_time()
    pairs = similar_pairs(sets, np.arange(len(sets)), np.array([0, len(sets)]), threshold=0.8)
    groups = len(sets) - len(pairs)  # the pairs span each component
    print(f"all pairs of {SAMPLE} responses: {groups} groups, {time.process_time() - started:.1f} CPU seconds")
    found, seconds = timed(lambda: near_duplicates(sample, **SETTINGS))
    print(f"by bands: {len(np.unique(found.group))} groups, {seconds:.1f} CPU seconds")


if __name__ == "__main__":
    main()
