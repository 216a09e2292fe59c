"""Writes the pool several times over, with noise: a corpus of a million distinct rows to measure memory and cost on.

    python benchmarks/big_pool.py ../shared/data/pool-117k.parquet /tmp/pool-1m.parquet --copies 10

The first copy is the pool itself, with its exact duplicates. In every further copy, 5 % of the words of
instruction, input and response are dropped, swapped with the next word, or followed by a word of another
row (a third each; at least one word of a response), and ids get the number of the copy. Rows are thus
distinct, while lengths, sources and word frequencies stay close to those of the pool. The noise is seeded;
the file is written batch by batch under a temporary name.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sftdiv.storage.files import writing

SHARE = 0.05  # of the words


def noisy(text: str, words: list[str], rng: np.random.Generator, *, least: int) -> str:
    """The text with words dropped, swapped with the next, or followed by one of ``words``; the first word stays."""
    said = text.split(" ")
    times = max(least, int(rng.binomial(len(said), SHARE)))
    for kind, place, word in zip(
        rng.integers(3, size=times), rng.random(times), rng.integers(len(words), size=times), strict=True
    ):
        at = 1 + int(place * (len(said) - 1))
        if kind == 0 and len(said) > 2 and at < len(said):
            del said[at]
        elif kind == 1 and at + 1 < len(said):
            said[at], said[at + 1] = said[at + 1], said[at]
        else:
            said.insert(at, words[word])
    return " ".join(said)


def noisy_batch(batch: pa.RecordBatch, copy: int, rng: np.random.Generator) -> pa.RecordBatch:
    """A batch of the pool with the noise of copy number ``copy``."""
    rows = batch.to_pydict()
    words = [word for text in rows["response"][::50] for word in text.split(" ") if word.strip()]
    changed: dict[str, Any] = {
        name: [noisy(text, words, rng, least=0) for text in rows[name]] for name in ("instruction", "input")
    }
    changed["response"] = [noisy(text, words, rng, least=1) for text in rows["response"]]
    changed["id"] = [f"{name}#{copy}" for name in rows["id"]]
    return pa.RecordBatch.from_pydict({**rows, **changed}, schema=batch.schema)


def write(source: Path, target: Path, *, copies: int, seed: int) -> int:
    """Write the copies; returns the number of rows."""
    pool, rows = pq.ParquetFile(source), 0
    with writing(target) as temporary, pq.ParquetWriter(temporary, pool.schema_arrow, compression="zstd") as writer:
        for copy in range(copies):
            for number, batch in enumerate(pool.iter_batches(10_000)):
                writer.write_batch(
                    batch if copy == 0 else noisy_batch(batch, copy, np.random.default_rng([seed, copy, number]))
                )
                rows += batch.num_rows
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("pool", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--copies", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rows = write(arguments.pool, arguments.target, copies=arguments.copies, seed=arguments.seed)
    print(f"{rows:,} rows, {arguments.target.stat().st_size / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
