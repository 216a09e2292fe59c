"""Compiled MinHash signatures by datasketch's scheme ``affine32``, a module of its own since numba takes a second."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Uint32s = NDArray[np.uint32]


@njit(cache=True, nogil=True)
def signatures(flat: Uint32s, lengths: NDArray[np.int64], factors: Uint32s, shifts: Uint32s) -> Uint32s:
    """The least ``factor * mixed + shift`` modulo 2^32 over the elements of each set, for each permutation.

    ``mixed`` is the finalizer of MurmurHash3 (Appleby 2011). Both as in datasketch 2.0, ``MinHash.update_batch``.

    Args:
        flat: Elements of all sets, end to end, shape (elements,).
        lengths: Number of elements of each set, at least 1, shape (sets,).
        factors: Odd factor of each permutation, shape (permutations,).
        shifts: Shift of each permutation, shape (permutations,).

    Returns:
        Shape (sets, permutations).
    """
    least = np.full((len(lengths), len(factors)), np.uint32(0xFFFFFFFF), np.uint32)
    end = 0
    for number in range(len(lengths)):
        start, end = end, end + lengths[number]
        row = least[number]
        for position in range(start, end):
            mixed = flat[position]
            mixed = np.uint32(np.uint32(mixed ^ (mixed >> np.uint32(16))) * np.uint32(0x85EBCA6B))
            mixed = np.uint32(np.uint32(mixed ^ (mixed >> np.uint32(13))) * np.uint32(0xC2B2AE35))
            mixed = np.uint32(mixed ^ (mixed >> np.uint32(16)))
            for permutation in range(len(factors)):
                value = np.uint32(factors[permutation] * mixed + shifts[permutation])
                row[permutation] = min(row[permutation], value)
    return least
