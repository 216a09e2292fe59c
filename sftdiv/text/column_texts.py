"""Texts of a corpus column, or of both sides joined, read from the corpus file on access.

The result is a sequence of strings that holds none of them: a text costs some microseconds on each
access, and a million texts no memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
        self.columns = columns

    def __len__(self) -> int:
        return len(self.columns[0])

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        """One text, or a slice of them."""
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            columns = [column.slice(start, max(stop - start, 0)).to_pylist()[::step] for column in self.columns]
            return columns[0] if len(columns) == 1 else [SEPARATOR.join(parts) for parts in zip(*columns, strict=True)]
        return SEPARATOR.join(column[int(index)].as_py() for column in self.columns)

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _BATCH):
            yield from self[start : start + _BATCH]


class ChosenTexts(Sequence[str]):
    """Some of many texts, in a given order, read on access as well.

    Args:
        texts: All texts.
        rows: Index of each chosen text, shape (chosen,).
    """

    def __init__(self, texts: Sequence[str], rows: NDArray[np.int64]) -> None:
        self._texts, self._rows = texts, rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        """One text, or a slice of them."""
        if isinstance(index, slice):
            return [self._texts[row] for row in self._rows[index]]
        return self._texts[self._rows[index]]

    def __iter__(self) -> Iterator[str]:
        return (self._texts[row] for row in self._rows)
