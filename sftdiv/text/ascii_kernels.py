"""Compiled loop of `ascii_tokens`, a module of its own since importing numba takes a second."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Int32s = NDArray[np.int32]
Int64s = NDArray[np.int64]
SIGN, SPACE, WORD = 0, 1, 2


@njit(cache=True, nogil=True)
def _kinds() -> Bytes:
    r"""Kind of each byte: ``\w``, ``\s`` (with the separators 28 to 31, as for Python's strings), or a sign."""
    kinds = np.full(256, SIGN, np.uint8)
    kinds[9:14] = SPACE
    kinds[28:33] = SPACE
    kinds[48:58] = WORD
    kinds[65:91] = WORD
    kinds[97:123] = WORD
    kinds[95] = WORD
    return kinds


@njit(cache=True, nogil=True)
def _end_of_token(content: Bytes, start: int, kinds: Bytes, inner_apostrophes: bool) -> int:
    """End of the token that starts at ``start``, which is not white space."""
    end = start + 1
    if kinds[content[start]] == SIGN:
        return end
    while True:
        while end < len(content) and kinds[content[end]] == WORD:
            end += 1
        after = end
        while inner_apostrophes and after < len(content) and content[after] == 39:
            after += 1
        if after == end or after == len(content) or kinds[content[after]] != WORD:
            return end
        end = after + 1


@njit(cache=True, nogil=True)
def cut_and_number(content: Bytes, ends: Int64s, inner_apostrophes: bool) -> tuple[Int32s, Int64s, Int64s, Int64s]:
    """Cut texts into tokens and number them by first occurrence.

    Args:
        content: Texts, each followed by a line break but for the last.
        ends: Position after each text's line break, shape (texts,).
        inner_apostrophes: See `ascii_tokens.number_ascii_tokens`.

    Returns:
        Number of each token; tokens of each text, shape (texts,); and start and size in bytes of the first occurrence
        of each distinct token.
    """
    kinds = _kinds()
    flat = np.empty(len(content), np.int32)
    lengths = np.zeros(len(ends), np.int64)
    starts, sizes = np.empty(1024, np.int64), np.empty(1024, np.int64)
    slots = np.full(4096, -1, np.int32)  # an open hash table of numbers, at most half full
    hashes = np.empty(1024, np.uint64)
    tokens = types = text = position = 0
    while position < len(content):
        if kinds[content[position]] == SPACE:
            position += 1
            continue
        while position >= ends[text]:
            text += 1
        end = _end_of_token(content, position, kinds, inner_apostrophes)
        code = np.uint64(14695981039346656037)  # FNV-1a
        for at in range(position, end):
            code = (code ^ np.uint64(content[at])) * np.uint64(1099511628211)
        code ^= code >> np.uint64(32)
        slot = np.int64(code & np.uint64(len(slots) - 1))
        while slots[slot] >= 0 and not _is_equal(content, position, end, starts[slots[slot]], sizes[slots[slot]]):
            slot = (slot + 1) & (len(slots) - 1)
        if slots[slot] < 0:
            if types == len(starts):
                starts, sizes, hashes = _doubled(starts), _doubled(sizes), _doubled(hashes)
                slots = _rehashed(hashes, types, 4 * len(starts))
                slot = np.int64(code & np.uint64(len(slots) - 1))
                while slots[slot] >= 0:
                    slot = (slot + 1) & (len(slots) - 1)
            slots[slot], starts[types], sizes[types], hashes[types] = types, position, end - position, code
            types += 1
        flat[tokens] = slots[slot]
        tokens += 1
        lengths[text] += 1
        position = end
    return flat[:tokens].copy(), lengths, starts[:types].copy(), sizes[:types].copy()


@njit(cache=True, nogil=True)
def _is_equal(content: Bytes, start: int, end: int, known: int, size: int) -> bool:
    if end - start != size:
        return False
    for offset in range(size):  # noqa: SIM110 - numba compiles no generators
        if content[start + offset] != content[known + offset]:
            return False
    return True


@njit(cache=True, nogil=True)
def _doubled(values: NDArray[np.generic]) -> NDArray[np.generic]:
    longer = np.empty(2 * len(values), values.dtype)
    longer[: len(values)] = values
    return longer


@njit(cache=True, nogil=True)
def _rehashed(hashes: NDArray[np.uint64], types: int, size: int) -> Int32s:
    slots = np.full(size, -1, np.int32)
    for number in range(types):
        slot = np.int64(hashes[number] & np.uint64(size - 1))
        while slots[slot] >= 0:
            slot = (slot + 1) & (size - 1)
        slots[slot] = number
    return slots
