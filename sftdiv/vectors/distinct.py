"""Distinct rows of an array, and the digest of its content."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray


def distinct_rows(vectors: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First occurrence of each distinct row, ascending, and for each row the number of its distinct row.

    Args:
        vectors: Rows, shape (rows, dimensions); equal where all bytes are (0.0 and -0.0 are one value).
    """
    rows = np.ascontiguousarray(vectors + np.float32(0))  # -0.0 + 0.0 is 0.0
    keys = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
    _, first, number = np.unique(keys, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    order = np.argsort(first)
    rank[order] = np.arange(len(first))
    return first[order].astype(np.int64), rank[number]


def digest_of(vectors: NDArray[np.float32]) -> str:
    """Digest of an array's content, for keys of what is computed from it."""
    return hashlib.blake2b(np.ascontiguousarray(vectors).tobytes(), digest_size=16).hexdigest()
