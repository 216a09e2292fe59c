"""Distinct texts, and texts cut to one line."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sftdiv.text.string_columns import distinct_by_digest


def distinct_rows(texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The distinct texts; compared by 128-bit digests to save memory.

    Returns:
        Index of the first occurrence of each, ascending, and its number of occurrences, both of shape (distinct,).
    """
    first, of_text = distinct_by_digest(texts)
    order = np.argsort(first)
    return first[order], np.bincount(of_text, minlength=len(first))[order]


def cut(text: str, characters: int) -> str:
    """The text on one line, truncated to ``characters`` characters with an ellipsis."""
    line = " ".join(text[: 4 * characters].split())
    return line if len(line) <= characters and len(text) <= 4 * characters else f"{line[: characters - 1]}\u2026"
