"""The remaining rows of a corpus that is being built, in canonical order and in shards for several processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sftdiv.data.canonical import rows_in_order
from sftdiv.data.external_sort import PARTS, Spill
from sftdiv.storage.files import writing
from sftdiv.text.column_texts import mapped_table

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 20_000  # of a shard, at most about; a shard has one of `PARTS` parts at least


@dataclass(frozen=True)
class RowShards:
    """Iterates over the tables of all rows; `tables` are those of one shard.

    Attributes:
        spill: All rows.
        index: File with the part of each remaining row, and its row in that part.
        columns: Columns of the tables.
        bounds: First part of each shard, then `PARTS`.
    """

    spill: Spill
    index: Path
    columns: Sequence[str]
    bounds: Sequence[int]

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __iter__(self) -> Iterator[pa.Table]:
        for shard in range(len(self)):
            yield from self.tables(shard)

    def tables(self, shard: int) -> Iterator[pa.Table]:
        """The rows of a shard, one part at a time."""
        import pyarrow as pa

        with pa.memory_map(str(self.index)) as source:
            index = pa.ipc.open_file(source).read_all()
            yield from rows_in_order(self.spill, index, self.columns, parts=range(*self.bounds[shard : shard + 2]))


@dataclass(frozen=True)
class TableShards:
    """Slices of some columns of an Arrow stream on disk; iterates over them.

    Attributes:
        path: The file, which must last as long as the shards.
        columns: Columns of the tables.
        rows: Rows of a shard; the last may have fewer.
    """

    path: Path
    columns: Sequence[str]
    rows: int

    def __len__(self) -> int:
        return max(1, -(-len(mapped_table(self.path)) // self.rows))

    def __iter__(self) -> Iterator[pa.Table]:
        for shard in range(len(self)):
            yield from self.tables(shard)

    def tables(self, shard: int) -> Iterator[pa.Table]:
        """The rows of a shard."""
        yield mapped_table(self.path).select(list(self.columns)).slice(shard * self.rows, self.rows)


def in_shards(tables: Iterable[pa.Table]) -> tuple[Callable[[int], Iterable[pa.Table]], int | None]:
    """The tables of a shard by its number, and the number of shards; None for tables that are not in shards."""
    if isinstance(tables, (RowShards, TableShards)):
        return tables.tables, len(tables)
    return lambda _: tables, None


def row_shards(spill: Spill, index: pa.Table, columns: Sequence[str], path: Path) -> RowShards:
    """The indexed rows in shards.

    Args:
        spill: All rows.
        index: The remaining rows; see `canonical.canonical_order`.
        columns: Columns to read.
        path: File for the index, which must last as long as the shards.
    """
    import pyarrow as pa

    positions = index.select(["part", "row"]).combine_chunks()
    with (
        writing(path, durable=False) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, positions.schema) as writer,
    ):
        writer.write_table(positions)
    count = int(np.clip(-(-len(index) // ROWS), 1, PARTS))
    return RowShards(spill, path, columns, tuple(PARTS * shard // count for shard in range(count + 1)))
