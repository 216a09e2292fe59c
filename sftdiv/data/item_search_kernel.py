"""Compiled search of examples for the items of an `ItemIndex`: a hash table, rolling n-gram hashes, verification."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

BASE = np.uint64(0x9E3779B97F4A7C15)  # base of the rolling polynomial; odd (Knuth, volume 3, 6.4)
_SPREAD = np.uint64(0xD6E8FEB86659FD93)  # multiplier of the hash table
Words = NDArray[np.uint64]


@njit(cache=True)
def _slot(key: np.uint64, slots: int) -> np.int64:
    return np.int64(((key ^ (key >> np.uint64(32))) * _SPREAD) >> np.uint64(24)) & (slots - 1)


@njit(cache=True)
def fill(keys: Words, hashes: Words, numbers: NDArray[np.int32]) -> None:
    """Enter keys into an empty hash table, numbered by their position; open addressing."""
    for number in range(len(keys)):
        slot = _slot(keys[number], len(hashes))
        while numbers[slot] >= 0:
            slot = (slot + 1) & (len(hashes) - 1)
        hashes[slot], numbers[slot] = keys[number], number


@njit(cache=True)
def covered_words(
    gram_at: NDArray[np.int32],
    offsets: NDArray[np.int64],
    item: int,
    seen: NDArray[np.int64],
    example: int,
    size: int,
) -> int:
    """Number of words of an item that stand in n-grams last seen in ``example``."""
    covered, end = 0, offsets[item]
    for start in range(offsets[item], offsets[item + 1] - size + 1):
        if seen[gram_at[start]] == example:
            covered += start + size - max(start, end)
            end = start + size
    return covered


@njit(cache=True)
def search(
    flat: Words,
    offsets: NDArray[np.int64],
    owner: NDArray[np.int64],
    hashes: Words,
    numbers: NDArray[np.int32],
    starts: NDArray[np.int64],
    items: NDArray[np.int32],
    gram_at: NDArray[np.int32],
    item_offsets: NDArray[np.int64],
    seen: NDArray[np.int64],
    proposed: NDArray[np.int64],
    size: int,
    share: float,
) -> NDArray[np.int64]:
    """Pairs of example and covered item, shape (pairs, 2)."""
    top = np.uint64(1)
    for _ in range(size - 1):
        top *= BASE
    candidates = np.empty(len(proposed), dtype=np.int64)
    count = 0
    pairs = np.empty((1024, 2), dtype=np.int64)
    found = 0
    for text in range(len(owner)):
        example = owner[text]
        value = np.uint64(0)
        for at in range(offsets[text], offsets[text + 1]):
            if at - offsets[text] >= size:
                value -= flat[at - size] * top
            value = value * BASE + flat[at]
            if at - offsets[text] < size - 1:
                continue
            slot = _slot(value, len(hashes))
            while numbers[slot] >= 0 and hashes[slot] != value:
                slot = (slot + 1) & (len(hashes) - 1)
            gram = numbers[slot]
            if gram < 0 or seen[gram] == example:
                continue
            seen[gram] = example
            for position in range(starts[gram], starts[gram + 1]):
                item = items[position]
                if proposed[item] != example:
                    proposed[item] = example
                    candidates[count] = item
                    count += 1
        if text + 1 == len(owner) or owner[text + 1] != example:
            for position in range(count):
                item = candidates[position]
                covered = covered_words(gram_at, item_offsets, item, seen, example, size)
                if covered > share * (item_offsets[item + 1] - item_offsets[item]):
                    if found == len(pairs):
                        grown = np.empty((2 * found, 2), dtype=np.int64)
                        grown[:found] = pairs
                        pairs = grown
                    pairs[found, 0], pairs[found, 1] = example, item
                    found += 1
            count = 0
    return pairs[:found]
