"""Grouping of token positions into n-grams, for ``ngram_counts``.

Positions are grouped by their first token and each group is split by the next token, and so on.
What comes in are the occurrences of a block of token types; the counts of ``NgramCounts`` are added
to in place.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Int32s = NDArray[np.int32]
Int64s = NDArray[np.int64]


@njit(cache=True, nogil=True)
def gather_positions(flat: Int32s, offsets: Int64s, low: int, starts: Int64s, order: int) -> Int32s:
    """Rows of (text, following tokens) for each occurrence of the types from ``low`` on, grouped by type.

    A token beyond the end of the text is -1. Texts ascend in each group, and in every group that is
    split off from it.

    Args:
        flat: Tokens of all texts.
        offsets: Start of each text, shape (texts + 1,).
        low: First type of the block.
        starts: Start of each type's group, shape (types of the block + 1,).
        order: Longest n-gram.
    """
    types = len(starts) - 1
    cursor = starts[:-1].copy()
    rows = np.empty((starts[-1], order), np.int32)
    for text in range(len(offsets) - 1):
        for p in range(offsets[text], offsets[text + 1]):
            t = flat[p] - low
            if 0 <= t < types:
                row = cursor[t]
                cursor[t] += 1
                rows[row, 0] = text
                for k in range(1, order):
                    rows[row, k] = flat[p + k] if p + k < offsets[text + 1] else -1
    return rows


@njit(cache=True, nogil=True)
def count_block(rows: Int32s, starts: Int64s, types: int, distinct: Int64s, matches: Int64s, repeats: Int64s) -> None:
    """Count the n-grams of one block: those of one order are groups of rows, split by the token that follows.

    Args:
        rows: From ``gather_positions``.
        starts: Start of each group of rows.
        types: Number of token types.
        distinct: Counts of ``NgramCounts``, added to in place, like ``matches`` and ``repeats``.
        matches: Clipped matches.
        repeats: Repeats in other texts.
    """
    order, groups = rows.shape[1], len(starts) - 1
    split = np.empty((len(rows) if order > 1 else 0, order), np.int32)
    split_starts = np.empty(len(rows) // 2 + 2, np.int64)
    frequency = np.zeros(types, np.int64)  # of each type after one n-gram; reset to zero after each n-gram
    slot, seen = np.empty(types, np.int64), np.empty(types, np.int32)
    for n in range(order):
        split_groups = 0
        split_starts[0] = 0
        for group in range(groups):
            first, last = starts[group], starts[group + 1]
            if last - first == 1:
                _count_unique(rows, first, n, distinct)
            elif last > first:
                distinct[n] += 1
                _count_shared(rows, first, last, n, matches, repeats)
                if n + 1 < order:
                    split_groups = _split_group(
                        rows, first, last, n + 1, split, split_starts, split_groups, frequency, slot, seen, distinct
                    )
        rows, split = split, rows
        starts, split_starts = split_starts, np.empty(split_starts[split_groups] // 2 + 2, np.int64)
        groups = split_groups


@njit(cache=True, nogil=True)
def _split_group(
    rows: Int32s,
    first: int,
    last: int,
    n: int,
    split: Int32s,
    starts: Int64s,
    groups: int,
    frequency: Int64s,
    slot: Int64s,
    seen: Int32s,
    distinct: Int64s,
) -> int:
    """Regroup the rows of one n-gram by the following token; count and drop rows whose longer n-gram is unique.

    Returns:
        Number of groups after these.
    """
    types = 0
    for i in range(first, last):
        t = rows[i, n]
        if t >= 0:
            if frequency[t] == 0:
                seen[types] = t
                types += 1
            frequency[t] += 1
    for k in range(types):
        t = seen[k]
        slot[t] = -1
        if frequency[t] > 1:
            slot[t] = starts[groups]
            groups += 1
            starts[groups] = starts[groups - 1] + frequency[t]
        frequency[t] = 0
    for i in range(first, last):
        t = rows[i, n]
        if t >= 0 and slot[t] >= 0:
            for k in range(rows.shape[1]):
                split[slot[t], k] = rows[i, k]
            slot[t] += 1
        elif t >= 0:
            _count_unique(rows, i, n, distinct)
    return groups


@njit(cache=True, nogil=True)
def _count_unique(rows: Int32s, row: int, n: int, distinct: Int64s) -> None:
    """Count an n-gram that occurs once, and every longer n-gram that begins with it."""
    distinct[n] += 1
    for longer in range(n + 1, rows.shape[1]):
        if rows[row, longer] < 0:
            return
        distinct[longer] += 1


@njit(cache=True, nogil=True)
def _count_shared(rows: Int32s, first: int, last: int, n: int, matches: Int64s, repeats: Int64s) -> None:
    """Add one n-gram, whose texts are ``rows[first:last, 0]`` (ascending), to the matches and repeats of its texts."""
    if rows[first, 0] == rows[last - 1, 0]:
        return
    largest, second, owner, holders = 0, 0, -1, 0  # largest and second largest count in a text, and the former's text
    start = first
    for i in range(first + 1, last + 1):
        if i == last or rows[i, 0] != rows[start, 0]:
            holders += 1
            if i - start > largest:
                largest, second, owner = i - start, largest, rows[start, 0]
            elif i - start > second:
                second = i - start
            start = i
    start = first
    for i in range(first + 1, last + 1):
        if i == last or rows[i, 0] != rows[start, 0]:
            text = rows[start, 0]
            matches[n, text] += min(i - start, second if text == owner else largest)
            repeats[n, text] += holders - 1
            start = i
