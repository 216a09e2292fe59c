"""A table larger than memory, on disk, to be read back in the order of its hashes: a distribution sort in two passes.

In: tables with a column ``hash`` (hexadecimal), in any order and number. Out: the same rows in
`PARTS` parts, one after the other in the order of the hash; a part is sorted in memory by whoever
reads it. Each table goes to a file of its own, whose record batch ``p`` holds its rows of part
``p``. The trade: rows are written once more than they need be, and read with plain reads and not
mapped, so that what is in memory is one part (a 64th of the whole, since hashes are spread evenly)
and never the pages of the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

PARTS = 64  # of 256 values that the first two digits of a hash take


class Spill:
    """Tables that were put aside in ``folder``; columns that some of them lack the type of (all null) get the type the others have."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows = 0
        self._files: list[Path] = []
        self._schema: pa.Schema | None = None

    def add(self, table: pa.Table) -> None:
        """Write one table's rows, part by part.

        Raises:
            pyarrow.ArrowTypeError: When a column's type agrees with that of no earlier table.
        """
        import pyarrow as pa

        known = [table.schema] if self._schema is None else [self._schema, table.schema]
        self._schema = pa.unify_schemas(known, promote_options="permissive")
        part = np.array([int(digits[:2], 16) * PARTS // 256 for digits in table.column("hash").to_pylist()])
        by_part = table.take(np.argsort(part, kind="stable")).combine_chunks()
        ends = np.cumsum(np.bincount(part, minlength=PARTS))
        path = self.folder / f"{len(self._files):06d}.arrow"
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            for start, end in zip([0, *ends[:-1]], ends, strict=True):
                writer.write_batch(_one_batch(by_part.slice(start, end - start)))
        self._files.append(path)
        self.rows += len(table)

    def part(self, number: int, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of one part, in the order in which they came; of ``columns`` alone, in the tables' order, where given.

        Raises:
            pyarrow.ArrowInvalid: When a value does not fit the type that all tables together give its column.
        """
        import pyarrow as pa

        assert self._schema is not None  # there is no part of nothing
        fields = [i for i, name in enumerate(self._schema.names) if columns is None or name in columns]
        empty = self._schema.empty_table().select(fields)
        return pa.concat_tables(
            [empty, *(_read(path, number, fields) for path in self._files)], promote_options="permissive"
        )


def _one_batch(table: pa.Table) -> pa.RecordBatch:
    """A table of one chunk a column as a batch; ``to_batches`` gives none where there are no rows."""
    import pyarrow as pa

    return next(iter(table.to_batches()), pa.RecordBatch.from_pylist([], schema=table.schema))


def _read(path: Path, number: int, fields: Sequence[int]) -> pa.Table:
    """Some columns of record batch ``number`` of one file; the bytes of the others are not read."""
    import pyarrow as pa

    with pa.OSFile(str(path), "rb") as source:
        reader = pa.ipc.open_file(source, options=pa.ipc.IpcReadOptions(included_fields=list(fields)))
        return pa.Table.from_batches([reader.get_batch(number)])
