"""Compiled counts over token ids: each reads the ids once, and holds nothing but its result and an entry per type.

They stand apart from `units.tokens`, since compiled code takes half a second to import.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Int32s = NDArray[np.int32]
Int64s = NDArray[np.int64]


@njit(cache=True)
def occurrences(flat: Int32s, types: int) -> Int64s:
    """Number of times each type occurs, shape (types,)."""
    counts = np.zeros(types, dtype=np.int64)
    for token in flat:
        counts[token] += 1
    return counts


@njit(cache=True)
def documents(flat: Int32s, offsets: Int64s, types: int) -> Int64s:
    """Number of texts that contain each type, shape (types,)."""
    counts, last_text = np.zeros(types, dtype=np.int64), np.full(types, -1, dtype=np.int64)
    for text in range(len(offsets) - 1):
        for token in flat[offsets[text] : offsets[text + 1]]:
            if last_text[token] != text:
                last_text[token] = text
                counts[token] += 1
    return counts


@njit(cache=True)
def row_starts(flat: Int32s, offsets: Int64s, column: Int32s) -> Int64s:
    """Start of each text's row in the matrix of `fill_rows`, then the number of non-zeros, shape (texts + 1,).

    Args:
        flat: Token ids of all texts.
        offsets: Start of each text, then the end.
        column: Column of each type, -1 for types without one.
    """
    starts, last_text = np.zeros(len(offsets), dtype=np.int64), np.full(len(column), -1, dtype=np.int64)
    for text in range(len(offsets) - 1):
        starts[text + 1] = starts[text]
        for token in flat[offsets[text] : offsets[text + 1]]:
            if column[token] >= 0 and last_text[token] != text:
                last_text[token] = text
                starts[text + 1] += 1
    return starts


@njit(cache=True)
def fill_rows(flat: Int32s, offsets: Int64s, column: Int32s, starts: Int64s, columns: Int32s, counts: Int32s) -> None:
    """Fill the columns, ascending within a row, and counts of a CSR matrix with the given row starts."""
    entry_of = np.full(len(column), -1, dtype=np.int64)
    for text in range(len(offsets) - 1):
        start, end = starts[text], starts[text]
        for token in flat[offsets[text] : offsets[text + 1]]:
            if column[token] < 0:
                continue
            if entry_of[token] < start:  # an entry of an earlier row, or none
                entry_of[token] = end
                columns[end], counts[end] = column[token], 0
                end += 1
            counts[entry_of[token]] += 1
        order = np.argsort(columns[start:end])
        columns[start:end], counts[start:end] = columns[start:end][order], counts[start:end][order]
