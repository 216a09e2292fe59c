"""All n-grams of many texts counted in one pass: what n-gram ratio, distinct-n, self-BLEU and self-repetition have in common.

In: token ids. Out: for each order n how many n-grams there are and how many differ, and for each
text how many of its n-grams other texts hold too. Positions are grouped by their first token, each
group by the second, and so on; an n-gram that occurs once is counted and let go, since nothing
longer that begins with it can be shared. The trade: the tokens are gone through once for every
block of leading tokens, so that memory beyond them is about 40 bytes for each of ``POSITIONS``
positions, whatever the size of the set. Nothing is hashed, nothing sampled.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sftdiv.diversity.entropy import token_counts
from sftdiv.records import TokenIds

ORDER = 4
POSITIONS = 1 << 23


@dataclass(frozen=True)
class NgramCounts:
    """The n-grams of orders 1 to N of a set of texts; row n - 1 of an array is order n.

    Attributes:
        lengths: Tokens of each text, shape (texts,).
        occurrences: N-grams with repetition, shape (N,); none runs across the end of a text.
        distinct: Different n-grams, shape (N,).
        matches: Of each text, its n-grams that some other text holds too, each at most as often as
            in any one other text (BLEU's clipped matches against all other texts), shape (N,
            texts).
        repeats: Of each text, the other texts that hold it, summed over its different n-grams,
            shape (N, texts).
    """

    lengths: NDArray[np.int64]
    occurrences: NDArray[np.int64]
    distinct: NDArray[np.int64]
    matches: NDArray[np.int64]
    repeats: NDArray[np.int64]


def count_ngrams(token_ids: TokenIds, *, order: int = ORDER, positions: int = POSITIONS) -> NgramCounts:
    """Count the n-grams of orders 1 to ``order``; O(tokens x order), and one reading of the tokens for each block of leading tokens.

    Args:
        token_ids: The texts.
        order: Longest n-gram.
        positions: Occurrences of leading tokens that are held at once (a single token with more is
            a block of its own).
    """
    lengths = token_ids.lengths()
    possible = np.maximum(lengths - np.arange(order)[:, None], 0).sum(axis=1)
    counts = NgramCounts(
        lengths,
        possible,
        *(np.zeros(shape, dtype=np.int64) for shape in (order, (order, len(lengths)), (order, len(lengths)))),
    )
    of_type = token_counts(token_ids)
    for low, high in _blocks(of_type, positions):
        starts = np.concatenate([[0], np.cumsum(of_type[low:high])])
        rows = _gather(token_ids.flat, token_ids.offsets, low, starts, order)
        _count_block(rows, starts, len(of_type), counts.distinct, counts.matches, counts.repeats)
    return counts


def _blocks(of_type: NDArray[np.int64], positions: int) -> Iterator[tuple[int, int]]:
    """Ranges of token types that together occur at most ``positions`` times, or hold a single type."""
    ends = np.cumsum(of_type)
    low = 0
    while low < len(of_type):
        before = ends[low] - of_type[low]
        high = max(low + 1, int(np.searchsorted(ends, before + positions, side="right")))
        if ends[high - 1] > before:
            yield low, high
        low = high


@njit(cache=True, nogil=True)  # type: ignore[misc]
def _gather(flat, offsets, low, starts, order):  # type: ignore[no-untyped-def]
    """For every occurrence of the types from ``low`` on, grouped by type: its text and the tokens after it (-1 beyond the text's end).

    In each group the texts ascend, and they do so in every group that is made of it.
    """
    types = len(starts) - 1
    cursor = starts[:-1].copy()
    rows = np.empty((starts[-1], order), np.int32)
    for i in range(len(offsets) - 1):
        for p in range(offsets[i], offsets[i + 1]):
            t = flat[p] - low
            if 0 <= t < types:
                row = cursor[t]
                cursor[t] += 1
                rows[row, 0] = i
                for k in range(1, order):
                    rows[row, k] = flat[p + k] if p + k < offsets[i + 1] else -1
    return rows


@njit(cache=True, nogil=True)  # type: ignore[misc]
def _count_block(rows, starts, types, distinct, matches, repeats):  # type: ignore[no-untyped-def]
    """Count the n-grams of one block: those of one order are groups of rows, and each group is split by the token that follows."""
    order, runs = rows.shape[1], len(starts) - 1
    split = np.empty((len(rows) if order > 1 else 0, order), np.int32)
    split_starts = np.empty(len(rows) // 2 + 2, np.int64)
    many = np.zeros(types, np.int64)  # of each type, how often it follows one n-gram; zero again after each
    slot, seen = np.empty(types, np.int64), np.empty(types, np.int32)
    for n in range(order):
        split_runs = 0
        split_starts[0] = 0
        for run in range(runs):
            first, last = starts[run], starts[run + 1]
            if last - first == 1:
                _count_alone(rows, first, n, distinct)
            elif last > first:
                distinct[n] += 1
                _score(rows, first, last, n, matches, repeats)
                if n + 1 < order:
                    split_runs = _split(
                        rows, first, last, n + 1, split, split_starts, split_runs, many, slot, seen, distinct
                    )
        rows, split = split, rows
        starts, split_starts = split_starts, np.empty(split_starts[split_runs] // 2 + 2, np.int64)
        runs = split_runs


@njit(cache=True, nogil=True)  # type: ignore[misc]
def _split(rows, first, last, n, split, starts, runs, many, slot, seen, distinct):  # type: ignore[no-untyped-def]
    """Regroup the rows of one n-gram by the token that follows it; what occurs once is counted here and left out. Returns the groups."""
    types = 0
    for i in range(first, last):
        t = rows[i, n]
        if t >= 0:
            if many[t] == 0:
                seen[types] = t
                types += 1
            many[t] += 1
    for k in range(types):
        t = seen[k]
        slot[t] = -1
        if many[t] > 1:
            slot[t] = starts[runs]
            runs += 1
            starts[runs] = starts[runs - 1] + many[t]
        many[t] = 0
    for i in range(first, last):
        t = rows[i, n]
        if t >= 0 and slot[t] >= 0:
            for k in range(rows.shape[1]):
                split[slot[t], k] = rows[i, k]
            slot[t] += 1
        elif t >= 0:
            _count_alone(rows, i, n, distinct)
    return runs


@njit(cache=True, nogil=True)  # type: ignore[misc]
def _count_alone(rows, row, n, distinct):  # type: ignore[no-untyped-def]
    """An n-gram that occurs once: it is one of its order, and so is every longer one that begins with it."""
    distinct[n] += 1
    for longer in range(n + 1, rows.shape[1]):
        if rows[row, longer] < 0:
            return
        distinct[longer] += 1


@njit(cache=True, nogil=True)  # type: ignore[misc]
def _score(rows, first, last, n, matches, repeats):  # type: ignore[no-untyped-def]
    """Add one n-gram, whose texts stand in ``rows[first:last, 0]`` (ascending), to the matches and repeats of its texts."""
    if rows[first, 0] == rows[last - 1, 0]:
        return
    largest, second, owner, holders = 0, 0, -1, 0
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
