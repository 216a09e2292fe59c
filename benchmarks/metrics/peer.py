"""One measurement by another package, in the environment of ``peers.txt``; prints seconds and value as JSON.

    python peer.py NAME INPUT

INPUT is a JSON file of texts, or an .npy file of unit vectors. Imports are not timed. ``remote_clique``
embeds texts itself; it gets an embedder that returns the vectors, so that only its arithmetic is timed.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def self_bleu(texts: list[str]) -> Callable[[], list[float]]:
    """NLTK's sentence_bleu of each text with all others as its references."""
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    method = SmoothingFunction().method1

    def scores() -> list[float]:
        words = [text.split() for text in texts]
        return [
            float(sentence_bleu(words[:i] + words[i + 1 :], words[i], smoothing_function=method))
            for i in range(len(words))
        ]

    return scores


def self_repetition(texts: list[str]) -> Callable[[], float]:
    from diversity import self_repetition_score

    return lambda: float(self_repetition_score(texts, verbose=False))


def remote_clique(vectors: np.ndarray) -> Callable[[], float]:
    from diversity import embedding

    class Embedded:
        def __init__(self, name: str) -> None:
            self.name = name

        def encode(self, data: list[str], **settings: Any) -> np.ndarray:
            return vectors

    embedding.SentenceTransformer = Embedded
    return lambda: float(embedding.remote_clique([""] * len(vectors), verbose=False))


def vendi(vectors: np.ndarray) -> Callable[[], float]:
    from vendi_score.vendi import score

    return lambda: float(score(vectors, np.dot))


def vendi_dual(vectors: np.ndarray) -> Callable[[], float]:
    from vendi_score.vendi import score_dual

    return lambda: float(score_dual(vectors))


MEASURED = {
    "self_bleu": 1,
    "self_repetition": 1,
    "vendi": 1,
    "remote_clique": 5,
    "vendi_dual": 9,
}  # times; the fastest counts


def main() -> None:
    name, path = sys.argv[1], Path(sys.argv[2])
    measure = globals()[name](np.load(path) if path.suffix == ".npy" else json.loads(path.read_text(encoding="utf-8")))
    seconds, busy = [], []
    for _ in range(MEASURED[name]):
        started, worked = time.perf_counter(), time.process_time()
        value = measure()
        seconds.append(time.perf_counter() - started)
        busy.append(time.process_time() - worked)
    print(json.dumps({"seconds": min(seconds), "cpu": min(busy), "value": value}))


if __name__ == "__main__":
    main()
