"""Decontamination of 117,000 real pairs: processor seconds, memory and known answers, beside a peer's rule.

    python benchmarks/decontamination.py POOL.parquet MMLU.parquet > benchmarks/decontamination.md

The peer is the rule of datatrove's ``NGramsDecontFilter`` (12-grams of words in a Python set, a document is
contaminated by any shared one), written out here with the same words, since the package is not installed. It
answers less (no items, no shares); its time is a yardstick for reading 30 million words in Python.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sftdiv.data.decontamination import ContaminationFinder
from sftdiv.data.overlap_words import normalised_words
from sftdiv.protocols import Benchmark

PEER_NGRAM = 12


def pool_table(path: str) -> pa.Table:
    """The pool in a corpus's columns, with the input joined to the instruction."""
    table = pq.read_table(path)
    pairs = zip(table["instruction"].to_pylist(), table["input"].to_pylist(), strict=True)
    instructions = pa.array([f"{text}\n\n{more}" if more else text for text, more in pairs], pa.large_string())
    return pa.table({"instruction": instructions, **{name: table[name] for name in ("response", "source", "id")}})


def mmlu_items(path: str) -> list[str]:
    """The questions of MMLU's test split."""
    table = pq.read_table(path, columns=["split", "question"])
    return [row["question"] for row in table.to_pylist() if row["split"] == "test"]


def peer(table: pa.Table, items: list[str]) -> int:
    """Number of examples that share any n-gram of `PEER_NGRAM` words with an item, by a Python set."""

    def grams(text: str) -> set[tuple[str, ...]]:
        words = normalised_words(text)
        return {tuple(words[at : at + PEER_NGRAM]) for at in range(len(words) - PEER_NGRAM + 1)}

    known = set().union(*map(grams, items))
    found = 0
    for batch in table.select(["instruction", "response"]).to_batches(max_chunksize=1000):
        sides = [column.to_pylist() for column in batch.columns]
        found += sum(not known.isdisjoint(grams(one) | grams(two)) for one, two in zip(*sides, strict=True))
    return found


def timed(run: Callable[[], Any]) -> tuple[Any, float]:
    started = time.process_time()
    return run(), time.process_time() - started


def main() -> None:
    table, mmlu = pool_table(sys.argv[1]), mmlu_items(sys.argv[2])
    is_alpaca = [source.startswith("alpacaeval") for source in table["source"].to_pylist()]
    alpaca = sorted(set(table.filter(pa.array(is_alpaca))["instruction"].to_pylist()))
    finder = ContaminationFinder(ngram=8, share=0.5, sides=["instruction", "response"])
    finder.find([table.slice(0, 100)], [Benchmark("compiles", alpaca)])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{len(table):,} examples; one core\n")
    print("| items | CPU s | examples found | items touched | by source |\n| - | - | - | - | - |")
    seconds = {}
    for name, items in (("MMLU", mmlu), ("AlpacaEval", alpaca)):
        result, seconds[name] = timed(lambda: finder.find([table], [Benchmark(name, items)]))  # noqa: B023  # called at once
        found = result.record[name]
        sources = ", ".join(f"{source} {count:,}" for source, count in found["by_source"].items())
        counts = f"{seconds[name]:.1f} | {found['examples']:,} | {found['touched']:,}"
        print(f"| {len(items):,} {name} | {counts} | {sources} |")
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    missed = is_alpaca.count(True) - int((result.touching(len(table)) & is_alpaca).sum())
    count, of_peer = timed(lambda: peer(table, mmlu))
    print(f"\nAlpacaEval's own {is_alpaca.count(True):,} rows that are not found: {missed}.")
    print(f"Peak memory {after:.2f} GiB, of which {before:.2f} before the first search.")
    print(
        f"Set of {PEER_NGRAM}-grams in Python (datatrove's rule), MMLU: {of_peer:.1f} CPU s, {count:,} examples; "
        f"{of_peer / seconds['MMLU']:.1f} times ours."
    )


if __name__ == "__main__":
    main()
