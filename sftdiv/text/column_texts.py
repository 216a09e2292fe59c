"""Texts of a corpus column, or of both sides joined, read from the corpus file on access.

The result is a sequence of strings that holds none of them: a text costs some microseconds on each
access, and a million texts no memory. Another process gets the path of the file and maps it itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from sftdiv.storage.files import writing

if TYPE_CHECKING:
    import pyarrow as pa

SEPARATOR = "\n\n"
_BATCH = 1000
_FILE, _COLUMN = "texts.arrow", "text"


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


class MappedTexts(ColumnTexts):
    """A column of an Arrow stream on disk; pickled as the path and the name of the column.

    Args:
        path: The file, which must outlive every copy.
        column: Name of the column.
    """

    def __init__(self, path: Path, column: str) -> None:
        super().__init__(mapped_table(path).column(column))
        self._source = (path, column)

    def __reduce__(self) -> tuple[Any, ...]:
        return MappedTexts, self._source


def mapped(texts: Sequence[str], folder: Path) -> MappedTexts:
    """The texts themselves if they are mapped, else a copy of them in a file of the folder."""
    if isinstance(texts, MappedTexts):
        return texts
    import pyarrow as pa

    schema = pa.schema({_COLUMN: pa.large_string()})
    with (
        writing(folder / _FILE, durable=False) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_stream(sink, schema) as writer,
    ):
        for start in range(0, len(texts), _BATCH):
            writer.write_batch(pa.record_batch({_COLUMN: list(texts[start : start + _BATCH])}, schema=schema))
    return MappedTexts(folder / _FILE, _COLUMN)


@lru_cache(maxsize=4)
def mapped_table(path: Path) -> pa.Table:
    """The table of an Arrow stream on disk, memory-mapped; the file may be renamed or deleted, but not changed."""
    import pyarrow as pa

    return pa.ipc.open_stream(pa.memory_map(str(path))).read_all()
