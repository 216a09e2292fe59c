"""The pool several times over, with noise: a corpus of a million distinct rows to measure memory and cost on.

    python benchmarks/big_pool.py ../shared/data/pool-117k.parquet /tmp/pool-1m.parquet --copies 10

The first copy is the pool itself, exact duplicates included. In each further one a word in twenty
of instruction, input and response is dropped, changes places with the next, or is followed by a
word of another row (each a third; at least one word of a response), and ids get the copy's number,
so that rows are distinct while lengths, sources and the frequencies of words stay nearly those of
the pool. Seeded; written row group by row group under a temporary name.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SHARE = 0.05  # of the words


def noisy(text: str, words: list[str], rng: np.random.Generator, *, least: int) -> str:
    """The text with some words dropped, swapped with the next, or followed by one of ``words``; the first word stays."""
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
    """A batch of the pool as copy number ``copy`` has it."""
    rows = batch.to_pydict()
    words = [word for text in rows["response"][::50] for word in text.split(" ") if word.strip()]
    changed: dict[str, Any] = {
        name: [noisy(text, words, rng, least=0) for text in rows[name]] for name in ("instruction", "input")
    }
    changed["response"] = [noisy(text, words, rng, least=1) for text in rows["response"]]
    changed["id"] = [f"{name}#{copy}" for name in rows["id"]]
    return pa.RecordBatch.from_pydict({**rows, **changed}, schema=batch.schema)


def write(source: Path, target: Path, *, copies: int, seed: int) -> int:
    """Write the copies; gives the number of rows."""
    pool, temporary = pq.ParquetFile(source), target.with_name(f".{target.name}")
    rows = 0
    with pq.ParquetWriter(temporary, pool.schema_arrow, compression="zstd") as writer:
        for copy in range(copies):
            for number, batch in enumerate(pool.iter_batches(10_000)):
                writer.write_batch(
                    batch if copy == 0 else noisy_batch(batch, copy, np.random.default_rng([seed, copy, number]))
                )
                rows += batch.num_rows
    temporary.replace(target)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("pool", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--copies", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print(
        f"{write(given.pool, given.target, copies=given.copies, seed=given.seed):,} rows, {given.target.stat().st_size / 2**20:.0f} MiB"
    )


if __name__ == "__main__":
    main()
