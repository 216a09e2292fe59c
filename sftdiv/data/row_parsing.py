"""From one file to its rows: ``(line, row)`` pairs, one at a time, whatever the size of the file.

In: a path, the largest row that is accepted, and a function that is told of what cannot be read.
Out: rows as dictionaries; `line` is the line on which the row begins (for Parquet, the row's
number). Text is decoded with ``surrogateescape``, so that a broken byte spoils its own row
(`formats` refuses it) and not the rest of the file. A piece larger than the limit is skipped
without being loaded.
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

Bad = Callable[[int, str, str], None]  # line, reason, text
Rows = Iterator[tuple[int, Any]]
BLOCK = 1 << 20
_BETWEEN = re.compile(r"[\s,]*")


class ReadRows(Protocol):
    """Reads the rows of one kind of file."""

    def __call__(self, path: Path, *, limit: int, bad: Bad) -> Rows:
        """Rows of ``path``; none is larger than ``limit`` bytes, and ``bad`` is told of each piece that is left out."""
        ...


def bounded_lines(path: Path, *, limit: int, bad: Bad) -> Iterator[tuple[int, str]]:
    """Lines with their numbers; of a line longer than ``limit`` bytes only its beginning is ever in memory, and it goes to ``bad``."""
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
            bad(number, f"too long: more than corpus.max_row_bytes={limit}", text)


def read_jsonl(path: Path, *, limit: int, bad: Bad) -> Rows:
    """One JSON object a line; blank lines are no rows."""
    for number, line in bounded_lines(path, limit=limit, bad=bad):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            bad(number, f"not JSON: {_reason(error)}", line)
            continue
        yield number, row


def read_json(path: Path, *, limit: int, bad: Bad) -> Rows:
    """An array of objects, read one by one; a file that begins otherwise is read as JSON lines, which often go by ``.json``."""
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as stream:
        head = stream.read(BLOCK)
        if head.lstrip().startswith("["):
            yield from _array(head, stream, limit=limit, bad=bad)
            return
    yield from read_jsonl(path, limit=limit, bad=bad)


def _array(text: str, stream: TextIO, *, limit: int, bad: Bad) -> Rows:
    """Elements of an array whose beginning is ``text``; a failure to decode means "read on" until the limit or the end is met.

    Each failure reads at least as much again as the unread part, so that an element of n characters
    costs O(n).
    """
    decoder = json.JSONDecoder()
    at, line = text.index("[") + 1, 1 + text.count("\n", 0, text.index("["))
    while True:
        start = at
        at = _BETWEEN.match(text, at).end()  # type: ignore[union-attr]  # the pattern also matches nothing
        line += text.count("\n", start, at)
        if text.startswith("]", at):
            return
        try:
            row, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            rest = len(text) - at
            more = stream.read(max(BLOCK, rest)) if rest <= limit else ""
            if not more:
                what = (
                    f"not JSON: {_reason(error)}"
                    if rest <= limit
                    else f"too long: more than corpus.max_row_bytes={limit}"
                )
                bad(line, f"{what}; the file is not read beyond this line", text[at:])
                return
            text, at = text[at:] + more, 0
            continue
        yield line, row
        line += text.count("\n", at, end)
        at = end


def read_csv(path: Path, *, limit: int, bad: Bad) -> Rows:
    """Comma-separated rows under a header; a row of another length than the header is bad."""
    csv.field_size_limit(limit)  # process-wide: the csv module offers no other way
    last = 0

    def lines() -> Iterator[str]:
        nonlocal last
        for number, line in bounded_lines(path, limit=limit, bad=bad):
            last = number
            yield line

    header: list[str] | None = None
    reader = csv.reader(lines(), strict=True)
    while True:
        first = last + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            bad(first, f"not CSV: {error}", "")
            continue
        if header is None:
            header = fields
        elif len(fields) == len(header):
            yield first, dict(zip(header, fields, strict=True))
        elif fields:
            bad(first, f"wrong columns: {len(fields)} fields under a header of {len(header)}", ",".join(fields))


def read_parquet(path: Path, *, limit: int, bad: Bad) -> Rows:
    """Rows of a Parquet file, a thousand at a time; ``limit`` has no use here, since the format is read in pages."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 1
    try:
        for batch in pq.ParquetFile(path).iter_batches(1000):
            yield from _rows(batch, number, bad=bad)
            number += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        bad(number, f"not Parquet: {error}; the file is not read beyond this row", "")


def _rows(batch: pa.RecordBatch, number: int, *, bad: Bad) -> Rows:
    """Rows of a batch; Parquet readers do not check UTF-8, so that a broken byte shows only here, and then row by row."""
    try:
        yield from enumerate(batch.to_pylist(), number)
    except UnicodeDecodeError:
        for index in range(batch.num_rows):
            try:
                row = batch.slice(index, 1).to_pylist()[0]
            except UnicodeDecodeError as error:
                bad(number + index, f"not UTF-8: {error}", "")
                continue
            yield number + index, row


def _reason(error: Exception) -> str:
    """What a JSON decoder complains of, without its position, which counts from wherever decoding began."""
    return str(error).partition(": line ")[0]


READERS: Mapping[str, ReadRows] = {
    ".jsonl": read_jsonl,
    ".json": read_json,
    ".parquet": read_parquet,
    ".csv": read_csv,
}
