"""Compiled hash table of `set_numbers`: digests of sets of shingles, and their numbers by first occurrence."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Digests = NDArray[np.uint64]
_FACTORS = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93))  # odd, so that each step is a bijection


@njit(cache=True, nogil=True)
def set_digests(flat: NDArray[np.uint32], lengths: NDArray[np.int64]) -> Digests:
    """Two hashes of each set, shape (sets, 2); see `shingles.TextShingles` for the arguments."""
    digests = np.empty((len(lengths), 2), np.uint64)
    end = 0
    for number in range(len(lengths)):
        start, end = end, end + lengths[number]
        first = np.uint64(lengths[number]) * _FACTORS[1] + _FACTORS[0]  # 0 would be a fixed point of small elements
        second = np.uint64(lengths[number]) * _FACTORS[0] + _FACTORS[1]
        for position in range(start, end):
            first = (first ^ np.uint64(flat[position])) * _FACTORS[0]
            first ^= first >> np.uint64(29)
            second = (second ^ np.uint64(flat[position])) * _FACTORS[1]
            second ^= second >> np.uint64(32)
        digests[number, 0], digests[number, 1] = first, second
    return digests


@njit(cache=True, nogil=True)
def _slot_of(digests: Digests, row: int, known: Digests, slots: NDArray[np.int32]) -> np.int64:
    """The slot of a digest, or the empty one in which it belongs; open addressing."""
    slot = np.int64(digests[row, 0] & np.uint64(len(slots) - 1))
    while slots[slot] >= 0:
        number = slots[slot]
        if known[number, 0] == digests[row, 0] and known[number, 1] == digests[row, 1]:
            break
        slot = (slot + 1) & (len(slots) - 1)
    return slot


@njit(cache=True, nogil=True)
def number_digests(digests: Digests, known: Digests, count: int, slots: NDArray[np.int32]) -> NDArray[np.int64]:
    """The number of each digest; one that is not known yet gets the next number and is entered.

    Args:
        digests: Shape (sets, 2).
        known: Known digests by their number, with room for all, changed in place, shape (room, 2).
        count: Number of known digests.
        slots: Hash table of numbers, -1 where empty, changed in place; its length is a power of two.

    Returns:
        Shape (sets,).
    """
    numbers = np.empty(len(digests), np.int64)
    for row in range(len(digests)):
        slot = _slot_of(digests, row, known, slots)
        if slots[slot] < 0:
            slots[slot] = count
            known[count] = digests[row]
            count += 1
        numbers[row] = slots[slot]
    return numbers
