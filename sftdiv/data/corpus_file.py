"""Writes the rows of a corpus in canonical order, one part at a time, with unique ids and the held-out mask."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sftdiv.data.canonical import rows_in_order, unique_ids
from sftdiv.data.example_table import CARRIED
from sftdiv.data.external_sort import Spill

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH = 10_000  # rows


def write_corpus(spill: Spill, index: pa.Table, heldout: NDArray[np.bool_], path: Path) -> None:
    """Write one Arrow stream of equal batches, whatever the sizes of the parts.

    Args:
        spill: All rows.
        index: The remaining rows; see `canonical.canonical_order`.
        heldout: Mask of the held-out rows, shape (rows,).
        path: Destination.
    """
    import pyarrow as pa

    tables = _tables(spill, index, heldout)
    pending = next(tables)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, pending.schema) as writer:
        for table in tables:
            pending = pa.concat_tables([pending, table])
            while len(pending) >= _BATCH:
                writer.write_table(pending.slice(0, _BATCH).combine_chunks())
                pending = pending.slice(_BATCH)
        writer.write_table(pending.combine_chunks())


def _tables(spill: Spill, index: pa.Table, heldout: NDArray[np.bool_]) -> Iterator[pa.Table]:
    """The corpus, one part at a time, with unique ids and the held-out mask."""
    import pyarrow as pa

    ids = unique_ids(index.column("hash"), index.column("id")).combine_chunks()
    mask, groups = pa.array(heldout), index.column("group").combine_chunks()
    start = 0
    for table in rows_in_order(spill, index):
        id_position, rows = table.schema.get_field_index("id"), len(table)
        table = table.set_column(id_position, "id", ids.slice(start, rows))
        table = table.set_column(table.schema.get_field_index("group"), "group", groups.slice(start, rows))
        table = table.append_column("heldout", mask.slice(start, rows))
        start += rows
        table = table.drop_columns(["hash", "label"])
        yield table.rename_columns([name.removeprefix(CARRIED) for name in table.column_names])
