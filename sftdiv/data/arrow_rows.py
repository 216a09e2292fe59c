"""Rows of Arrow tables: Arrow files and streams, the tables of ``datasets``, and Parquet files (`parquet_rows`).

Only needed columns are decoded, so that dates, decimals, images or broken text in others cost nothing.
The others appear in each row as `NOT_READ`, so that messages can name them. A value that Python cannot
hold rejects its own row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sftdiv.data.arrow_buffers import check_memory, first_too_large
from sftdiv.data.byte_source import RejectRow, Rows, rest
from sftdiv.records import SftdivError
from sftdiv.storage.escaping import listed

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 1000  # at most, decoded at once
MEMORY = 64 << 20  # bytes decoded at once, as far as a file's metadata tell


class _NotRead:
    """Stands for the value of a column that is not decoded."""

    def __repr__(self) -> str:
        return "(not read)"


NOT_READ = _NotRead()


class _Unreadable:
    """Stands for a value that cannot be decoded."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


def read_arrow(path: Path, *, limit: int, reject: RejectRow, needed: Collection[str]) -> Rows:
    """Rows of an Arrow file or stream, as ``datasets.save_to_disk`` writes them.

    ``limit`` holds for single rows; a compressed batch whose rows are on average larger is not decompressed.

    Raises:
        SftdivError: If a needed column stands twice.
    """
    import pyarrow as pa

    number = 1
    try:
        too_large = first_too_large(path, limit=limit)
        with pa.OSFile(str(path), "rb") as source:
            batches = _record_batches(source)
            for index in count():
                if too_large is not None and index == too_large[0]:
                    reject(number, rest(f"too long, a batch of {too_large[1]:,} bytes when decompressed"), "")
                    return
                batch = next(batches, None)
                if batch is None:
                    return
                columns, others = split_columns(path, list(batch.schema.names), needed)
                if columns:
                    yield from _checked_rows(batch.select(columns), number, others, reject)
                else:
                    yield from unread_rows(number, batch.num_rows, others)
                number += batch.num_rows
    except SftdivError:
        raise
    except Exception as error:
        check_memory(error, path)
        reject(number, rest(f"not Arrow: {error}"), "")


def _checked_rows(batch: pa.RecordBatch, number: int, others: Collection[str], reject: RejectRow) -> Rows:
    """As `batch_rows`, of bytes as they stand in a file: positions outside of it would end the process."""
    import pyarrow as pa

    try:
        batch.validate(full=True)
        parts = [batch]
    except pa.ArrowInvalid:
        parts = [batch.slice(position, 1) for position in range(batch.num_rows)]
    for position, part in enumerate(parts, start=number):
        try:
            part.validate(full=True)
        except pa.ArrowInvalid as error:
            phrase = "not UTF-8" if "UTF8" in str(error) else "unreadable value"
            reject(position, f"{phrase}: {error}", "")
            continue
        yield from batch_rows(part, position, others=others, reject=reject)


def batch_rows(batch: pa.RecordBatch, number: int, *, others: Collection[str], reject: RejectRow) -> Rows:
    """Rows of a batch, numbered from ``number``, with `NOT_READ` for the columns ``others``.

    Readers of Arrow do not check UTF-8 or the range of dates; a value that cannot be converted rejects its row.
    """
    not_read = dict.fromkeys(others, NOT_READ)
    at_once = _rows_at_once(batch)
    for start in range(0, batch.num_rows, at_once):
        part = batch.slice(start, at_once)
        names, columns = part.schema.names, [_values(column) for column in part.columns]
        all_readable = not any(isinstance(value, _Unreadable) for values in columns for value in values)
        for position, values in enumerate(zip(*columns, strict=True), start=number + start):
            row = dict(zip(names, values, strict=True))
            broken = None
            if not all_readable:
                broken = next((name for name, value in row.items() if isinstance(value, _Unreadable)), None)
            if broken is None:
                yield position, row | not_read
            else:
                reject(position, f"{row[broken].reason} (column {broken})", "")


def _values(column: pa.Array) -> list[Any]:
    """The values of a column, one by one where they do not convert together."""
    try:
        return list(column.to_pylist())
    except MemoryError:
        raise
    except Exception:  # UnicodeDecodeError, OverflowError, ArrowInvalid, an unknown time zone
        return [_value(column, position) for position in range(len(column))]


def _value(column: pa.Array, position: int) -> Any:
    try:
        return column[position].as_py()
    except UnicodeDecodeError as error:
        return _Unreadable(f"not UTF-8: {error}")
    except MemoryError:
        raise
    except Exception as error:
        return _Unreadable(f"unreadable value: {type(error).__name__}, {error}")


def split_columns(path: Path, names: list[str], needed: Collection[str]) -> tuple[list[str], set[str]]:
    """The needed columns, in their order, and the others."""
    twice = [name for name, times in Counter(names).items() if times > 1 and name in needed]
    if twice:
        raise SftdivError(f"{path}: the columns {listed(twice)} stand twice: keep one column of that name")
    columns = [name for name in names if name in needed]
    return columns, set(names) - set(columns)


def unread_rows(number: int, rows: int, names: Collection[str]) -> Rows:
    """Rows of which no column is needed."""
    for position in range(number, number + rows):
        yield position, dict.fromkeys(names, NOT_READ)


def _rows_at_once(batch: pa.RecordBatch) -> int:
    """Rows of a batch that are converted together: fewer where a long text stands in many rows."""
    import pyarrow as pa

    longest = 1
    for column in batch.columns:
        if isinstance(column, pa.DictionaryArray) and len(column.dictionary):
            longest = max(longest, column.dictionary.nbytes // len(column.dictionary))
    return max(1, min(ROWS, MEMORY // longest))


def _record_batches(source: pa.NativeFile) -> Iterator[pa.RecordBatch]:
    """Batches of an Arrow file, or of the streams that stand one after the other.

    Raises:
        ValueError: If a file holds another number of batches than its footer says.
    """
    import pyarrow as pa

    if source.read(6) == b"ARROW1":
        expected = pa.ipc.open_file(source).num_record_batches
        source.seek(8)  # a file is a stream between marks; the footer alone would hide what it does not list
        number = 0
        for number, batch in enumerate(pa.ipc.open_stream(source), start=1):  # noqa: B007
            yield batch
        if number != expected:
            raise ValueError(f"{number} record batches, and {expected} in the footer")
        return
    source.seek(0)
    while source.tell() < source.size():
        yield from pa.ipc.open_stream(source)
