"""A table larger than memory on disk, read back in the order of its hashes: a distribution sort in two passes.

Tables with a column ``hash`` (hexadecimal) are written, by any number of processes, as one file each, whose record
batch ``p`` holds the table's rows of part ``p``. The rows come back in `PARTS` parts, ordered by hash; the caller sorts
each part in memory. Rows are written once more than necessary and read with plain reads instead of a memory map, so
that only one part is in memory at a time (a 64th of the total, since hashes are spread evenly).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

PARTS = 64  # divides the 256 values of the first two hexadecimal digits


def write_parts(table: pa.Table, path: Path) -> None:
    """Write the rows of one table, part by part."""
    import pyarrow as pa

    part = _parts(table.column("hash"))
    by_part = table.take(np.argsort(part, kind="stable")).combine_chunks()
    ends = np.cumsum(np.bincount(part, minlength=PARTS))
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        for start, end in zip([0, *ends[:-1]], ends, strict=True):
            writer.write_batch(_one_batch(by_part.slice(start, end - start)))


class Spill:
    """Files of `write_parts` as one table. A column that is all null in one gets the type it has in the others."""

    def __init__(self) -> None:
        self.rows = 0
        self._files: list[Path] = []
        self._schema: pa.Schema | None = None

    def add(self, path: Path, rows: int) -> None:
        """Add a file.

        Args:
            path: The file.
            rows: Number of its rows.

        Raises:
            pyarrow.ArrowTypeError: If the type of a column conflicts with that of an earlier file.
        """
        import pyarrow as pa

        with pa.OSFile(str(path), "rb") as source:
            schema = pa.ipc.open_file(source).schema
        schemas = [schema] if self._schema is None else [self._schema, schema]
        self._schema = pa.unify_schemas(schemas, promote_options="permissive")
        self._files.append(path)
        self.rows += rows

    def part(self, number: int, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of one part, in the order of adding.

        Args:
            number: Part, from 0 to `PARTS` - 1.
            columns: Columns to read, returned in the order of the schema; None for all.

        Raises:
            pyarrow.ArrowInvalid: If a value does not fit the unified type of its column.
        """
        import pyarrow as pa

        assert self._schema is not None, "nothing was added"
        fields = [i for i, name in enumerate(self._schema.names) if columns is None or name in columns]
        empty = self._schema.empty_table().select(fields)
        return pa.concat_tables(
            [empty, *(_read(path, number, fields) for path in self._files)], promote_options="permissive"
        )


def _parts(hashes: pa.ChunkedArray) -> NDArray[np.int64]:
    """Part of each hash, by its first two hexadecimal digits, shape (rows,)."""
    import pyarrow.compute as pc

    first = pc.utf8_slice_codeunits(hashes, 0, 2).combine_chunks().dictionary_encode()
    part = np.array([int(digits, 16) * PARTS // 256 for digits in first.dictionary.to_pylist()], dtype=np.int64)
    return part[first.indices.to_numpy()]


def _one_batch(table: pa.Table) -> pa.RecordBatch:
    """A table of one chunk per column as a batch; ``to_batches`` of an empty table returns none."""
    import pyarrow as pa

    return next(iter(table.to_batches()), pa.RecordBatch.from_pylist([], schema=table.schema))


def _read(path: Path, number: int, fields: Sequence[int]) -> pa.Table:
    """Some columns of record batch ``number`` of one file; the bytes of other columns are not read."""
    import pyarrow as pa

    with pa.OSFile(str(path), "rb") as source:
        reader = pa.ipc.open_file(source, options=pa.ipc.IpcReadOptions(included_fields=list(fields)))
        return pa.Table.from_batches([reader.get_batch(number)])
