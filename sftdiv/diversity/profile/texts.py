"""Texts of a corpus column, or of both sides joined, read from the corpus file on access.

The result is a sequence of strings that holds none of them: a text costs some microseconds on each
access, and a million texts no memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

SEPARATOR = "\n\n"
_BATCH = 1000


class ColumnTexts(Sequence[str]):
    """Text ``i`` is row ``i`` of every column, joined by a blank line where there are several columns."""

    def __init__(self, *columns: pa.ChunkedArray) -> None:
        self._columns = columns

    def __len__(self) -> int:
        return len(self._columns[0])

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        """One text, or a slice of them."""
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            columns = [column.slice(start, max(stop - start, 0)).to_pylist()[::step] for column in self._columns]
            return [SEPARATOR.join(parts) for parts in zip(*columns, strict=True)]
        return SEPARATOR.join(column[int(index)].as_py() for column in self._columns)

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _BATCH):
            yield from self[start : start + _BATCH]


def distinct_rows(texts: Iterable[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The distinct texts; compared by 128-bit digests to save memory.

    Returns:
        Index of the first occurrence of each, ascending, and its number of occurrences, both of shape (distinct,).
    """
    first: dict[bytes, int] = {}
    counts: list[int] = []
    rows: list[int] = []
    for row, text in enumerate(texts):
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        position = first.setdefault(digest, len(rows))
        if position == len(rows):
            rows.append(row)
            counts.append(0)
        counts[position] += 1
    return np.array(rows, dtype=np.int64), np.array(counts, dtype=np.int64)


def cut(text: str, characters: int) -> str:
    """The text on one line, truncated to ``characters`` characters with an ellipsis."""
    line = " ".join(text[: 4 * characters].split())
    return line if len(line) <= characters and len(text) <= 4 * characters else f"{line[: characters - 1]}\u2026"
