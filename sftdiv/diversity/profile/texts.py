"""Distinct texts of a corpus, and texts cut for a table."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


def distinct_rows(texts: Iterable[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The distinct texts; compared by 128-bit digests to save memory.

    Returns:
        Index of the first occurrence of each, ascending, and its number of occurrences, both of shape (distinct,).
    """
    first: dict[bytes, int] = {}
    counts: list[int] = []
    rows: list[int] = []
    for row, text in enumerate(texts):
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        position = first.setdefault(digest, len(rows))
        if position == len(rows):
            rows.append(row)
            counts.append(0)
        counts[position] += 1
    return np.array(rows, dtype=np.int64), np.array(counts, dtype=np.int64)


def cut(text: str, characters: int) -> str:
    """The text on one line, truncated to ``characters`` characters with an ellipsis."""
    line = " ".join(text[: 4 * characters].split())
    return line if len(line) <= characters and len(text) <= 4 * characters else f"{line[: characters - 1]}\u2026"
