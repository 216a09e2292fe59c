"""The same responses of pool-117k, cut to 24, 60, 120 and 250 words: metrics of the whole set and at 10,000 tokens.

    python benchmarks/equal_tokens.py ../shared/data/pool-117k.parquet [--texts 700]

The responses have at least 250 words, so that every cut leaves the same texts and only their length changes. Raw
metrics rise (or fall) with it; those at equal tokens (``sftdiv/diversity/equal_tokens.py``) should stay. Results of a
run: equal_tokens.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from sftdiv.diversity.equal_tokens import COLUMNS
from sftdiv.diversity.registry import describe, describe_at_tokens
from sftdiv.units.encoding import encode

CUTS = (24, 60, 120, 250)  # words
FAMILIES = ("entropy", "ngram_ratio", "distinct", "compression_ratio", "self_repetition", "mtld")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pool", type=Path)
    parser.add_argument("--texts", type=int, default=700, help="number of responses (default: %(default)s)")
    asked = parser.parse_args()
    words = [text.split() for text in pq.read_table(asked.pool, columns=["response"])["response"].to_pylist()]
    long = [row for row, found in enumerate(words) if len(found) >= max(CUTS)]
    chosen = np.random.default_rng(0).permutation(long)[: asked.texts].tolist()
    print(f"| metrics of {len(chosen):,} responses | words each | tokens | {' | '.join(COLUMNS)} |")
    print(f"| {' | '.join(['---'] * (3 + len(COLUMNS)))} |")
    rows: dict[str, list[str]] = {"whole set": [], "at equal tokens": []}
    for cut in CUTS:
        texts = [" ".join(words[row][:cut]) for row in chosen]
        tokens = encode(texts, "words")
        raw, equal = describe(tokens, texts, None, metrics=FAMILIES), describe_at_tokens(tokens, texts)
        for name, values in (
            ("whole set", [raw[column] for column in COLUMNS]),
            ("at equal tokens", [equal[f"{column}_at_tokens"] for column in COLUMNS]),
        ):
            numbers = " | ".join(f"{value:.3f}" for value in values)
            rows[name].append(f"| {name} | {cut} | {len(tokens.flat):,} | {numbers} |")
    print("\n".join(line for lines in rows.values() for line in lines))


if __name__ == "__main__":
    main()
