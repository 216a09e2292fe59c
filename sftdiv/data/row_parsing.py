"""Reads the rows of one file as ``(line, row)`` pairs, one at a time, whatever the size of the file.

Rows are dictionaries; ``line`` is the line on which the row begins (for Parquet, the row's number).
Unreadable pieces are passed to a function ``reject``. Text is decoded with ``surrogateescape``, so that
a broken byte costs its own row (`formats` rejects it) and not the rest of the file. A piece larger than
the limit is skipped without being loaded.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

if TYPE_CHECKING:
    import pyarrow as pa

RejectRow = Callable[[int, str, str], None]  # line, reason, text
Rows = Iterator[tuple[int, Any]]
BLOCK = 1 << 20
_BETWEEN = re.compile(r"[\s,]*")


class ReadRows(Protocol):
    """Reads the rows of one kind of file."""

    def __call__(self, path: Path, *, limit: int, reject: RejectRow) -> Rows:
        """Rows of ``path`` of at most ``limit`` bytes each; ``reject`` receives each piece that is left out."""
        ...


def bounded_lines(path: Path, *, limit: int, reject: RejectRow) -> Iterator[tuple[int, str]]:
    """Lines with their numbers; a line longer than ``limit`` bytes is rejected and never loaded whole."""
    number = 0
    with path.open("rb") as stream:
        while line := stream.readline(limit + 1):
            number += 1
            text = line.decode("utf-8-sig" if number == 1 else "utf-8", errors="surrogateescape")
            if len(line) <= limit:
                yield number, text
                continue
            while not line.endswith(b"\n") and (line := stream.readline(BLOCK)):
                pass
            reject(number, f"too long: more than corpus.max_row_bytes={limit}", text)


def read_jsonl(path: Path, *, limit: int, reject: RejectRow) -> Rows:
    """JSON lines: one object per line; blank lines are skipped."""
    for number, line in bounded_lines(path, limit=limit, reject=reject):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            reject(number, f"not JSON: {_reason(error)}", line)
            continue
        yield number, row


def read_json(path: Path, *, limit: int, reject: RejectRow) -> Rows:
    """An array of objects, read one by one; any other file is read as JSON lines, which are often named ``.json``."""
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as stream:
        head = stream.read(BLOCK)
        if head.lstrip().startswith("["):
            yield from _array(head, stream, limit=limit, reject=reject)
            return
    yield from read_jsonl(path, limit=limit, reject=reject)


def _array(text: str, stream: TextIO, *, limit: int, reject: RejectRow) -> Rows:
    """Elements of an array that begins with ``text``.

    If an element cannot be decoded, more text is read until the limit or the end of the file. Each
    time at least as much is read as is pending, so that an element of n characters costs O(n).
    """
    decoder = json.JSONDecoder()
    at, line = text.index("[") + 1, 1 + text.count("\n", 0, text.index("["))
    while True:
        start = at
        between = _BETWEEN.match(text, at)
        assert between is not None, "the pattern matches the empty string too"
        at = between.end()
        line += text.count("\n", start, at)
        if text.startswith("]", at):
            return
        try:
            row, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            pending = len(text) - at
            more = stream.read(max(BLOCK, pending)) if pending <= limit else ""
            if not more:
                too_long = f"too long: more than corpus.max_row_bytes={limit}"
                reason = too_long if pending > limit else f"not JSON: {_reason(error)}"
                reject(line, f"{reason}; the file is not read beyond this line", text[at:])
                return
            text, at = text[at:] + more, 0
            continue
        yield line, row
        line += text.count("\n", at, end)
        at = end


def read_csv(path: Path, *, limit: int, reject: RejectRow) -> Rows:
    """Comma-separated rows under a header; rows of another length than the header are rejected."""
    csv.field_size_limit(limit)  # process-wide: the csv module offers no other way
    last_line = 0

    def lines() -> Iterator[str]:
        nonlocal last_line
        for number, line in bounded_lines(path, limit=limit, reject=reject):
            last_line = number
            yield line

    header: list[str] | None = None
    reader = csv.reader(lines(), strict=True)
    while True:
        first_line = last_line + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            reject(first_line, f"not CSV: {error}", "")
            continue
        if header is None:
            header = fields
        elif len(fields) == len(header):
            yield first_line, dict(zip(header, fields, strict=True))
        elif fields:
            reject(first_line, f"wrong columns: {len(fields)} fields under a header of {len(header)}", ",".join(fields))


def read_parquet(path: Path, *, limit: int, reject: RejectRow) -> Rows:
    """Rows of a Parquet file, a thousand at a time; ``limit`` is ignored, since the format is read in pages."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 1
    try:
        for batch in pq.ParquetFile(path).iter_batches(1000):
            yield from _rows(batch, number, reject=reject)
            number += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        reject(number, f"not Parquet: {error}; the file is not read beyond this row", "")


def _rows(batch: pa.RecordBatch, number: int, *, reject: RejectRow) -> Rows:
    """Rows of a batch. Parquet readers do not check UTF-8, so a broken byte is found here, and then row by row."""
    try:
        yield from enumerate(batch.to_pylist(), number)
    except UnicodeDecodeError:
        for index in range(batch.num_rows):
            try:
                row = batch.slice(index, 1).to_pylist()[0]
            except UnicodeDecodeError as error:
                reject(number + index, f"not UTF-8: {error}", "")
                continue
            yield number + index, row


def _reason(error: Exception) -> str:
    """Message of a JSON decoder without the position, which counts from where decoding began."""
    return str(error).partition(": line ")[0]


READERS: Mapping[str, ReadRows] = {
    ".jsonl": read_jsonl,
    ".json": read_json,
    ".parquet": read_parquet,
    ".csv": read_csv,
}
