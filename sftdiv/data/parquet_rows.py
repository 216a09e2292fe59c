"""Rows of a Parquet file, or of a range of its rows; see `arrow_rows`."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from sftdiv.data.arrow_buffers import check_memory
from sftdiv.data.arrow_rows import MEMORY, ROWS, batch_rows, split_columns, unread_rows
from sftdiv.data.byte_source import RejectRow, Rows, rest
from sftdiv.records import SftdivError

if TYPE_CHECKING:
    import pyarrow.parquet as pq


def read_parquet(
    path: Path, *, limit: int, reject: RejectRow, needed: Collection[str], rows: range | None = None
) -> Rows:
    """Rows of a Parquet file. A row group whose rows are on average larger than ``limit`` bytes is not decoded.

    Args:
        path: The file.
        limit: Size in bytes from which rows are rejected instead of decoded.
        reject: Receives row, reason and text of what is left out.
        needed: Columns to decode.
        rows: Rows to read, counted from 0; None for all. Row groups without one of them are passed over. What cannot be
            read is named as by a reading of the whole file, also where it precedes these rows in their row group.

    Raises:
        SftdivError: If a needed column stands twice.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 1
    try:
        schema = pq.read_schema(path)
        columns, others = split_columns(path, list(schema.names), needed)
        texts = [name for name in columns if pa.types.is_string(schema.field(name).type)]
        with pq.ParquetFile(path, read_dictionary=texts) as file:  # a long text that repeats is decoded once
            wanted = range(file.metadata.num_rows) if rows is None else rows
            for group in range(file.num_row_groups):
                metadata = file.metadata.row_group(group)
                if number > wanted.stop or number + metadata.num_rows <= wanted.start + 1:
                    number += metadata.num_rows
                    continue
                size = metadata.total_byte_size / max(metadata.num_rows, 1)
                if size > limit:  # of all columns: images may stand beside small texts
                    size = _decoded_size(metadata, columns) / max(metadata.num_rows, 1)
                if size > limit:
                    reason = f"too long, rows of {size:,.0f} bytes are more than corpus.max_row_bytes={limit}"
                    reject(number, rest(reason), "")
                    return
                if not columns:
                    first, last = max(number, wanted.start + 1), min(number + metadata.num_rows, wanted.stop + 1)
                    yield from unread_rows(first, last - first, others)
                    number += metadata.num_rows
                    continue
                at_once = max(1, min(ROWS, int(MEMORY / max(size, 1))))
                for batch in file.iter_batches(at_once, row_groups=[group], columns=columns):
                    skipped = max(wanted.start + 1 - number, 0)
                    part = batch.slice(skipped, max(wanted.stop + 1 - number - skipped, 0))
                    if part.num_rows:
                        yield from batch_rows(part, number + skipped, others=others, reject=reject)
                    number += batch.num_rows
                    if number > wanted.stop and wanted.stop < file.metadata.num_rows:
                        return
            if number <= file.metadata.num_rows:
                raise ValueError(f"{number - 1} rows, and {file.metadata.num_rows} in the footer")
    except SftdivError:
        raise
    except Exception as error:  # damaged files raise errors of many kinds
        check_memory(error, path)
        reject(number, rest(f"not Parquet: {error}"), "")


def _decoded_size(group: pq.RowGroupMetaData, columns: list[str]) -> int:
    """Bytes of some columns of a row group before compression.

    Only asked for groups that may be too large: of a damaged file ``group.column`` may end the process.
    """
    chunks = [group.column(position) for position in range(group.num_columns)]
    return sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema.split(".")[0] in columns)
