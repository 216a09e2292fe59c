"""Numbers of distinct sets of shingles by their first occurrence: a hash table over arrays, at most 48 bytes a set.

Sets are compared by 128 bits, so that no two of a billion are taken for equal.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ROOM = 1024  # sets, at first


class SetNumbers:
    """Numbers the sets that it has seen; its length is that of the distinct ones."""

    def __init__(self) -> None:
        self._known = np.empty((_ROOM, 2), dtype=np.uint64)
        self._slots = np.full(2 * _ROOM, -1, dtype=np.int32)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def number(self, flat: NDArray[np.uint32], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        """The number of each set, shape (sets,); new ones get the next numbers.

        Args:
            flat: Shingles of all sets, ascending in each, shape (shingles,).
            lengths: Number of shingles of each set, shape (sets,).
        """
        from sftdiv.data.set_kernels import number_digests, set_digests

        self._make_room(self._count + len(lengths))
        numbers: NDArray[np.int64] = number_digests(set_digests(flat, lengths), self._known, self._count, self._slots)
        self._count = max(self._count, int(numbers.max(initial=-1)) + 1)
        return numbers

    def _make_room(self, sets: int) -> None:
        """Double the table until ``sets`` sets fill at most half of it."""
        from sftdiv.data.set_kernels import number_digests

        room = len(self._known)
        if sets <= room:
            return
        while room < sets:
            room *= 2
        digests = self._known[: self._count]
        self._known = np.empty((room, 2), dtype=np.uint64)
        self._slots = np.full(2 * room, -1, dtype=np.int32)
        number_digests(digests, self._known, 0, self._slots)
