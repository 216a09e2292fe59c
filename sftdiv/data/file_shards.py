"""Shards of a corpus's files: what one process reads at once.

A Parquet file of many rows is cut into ranges of rows; a range that begins within a row group costs the decoding of the
group up to it, about a twentieth of what converting these rows costs. Files of other kinds can only be read from their
beginning, so that each is in one shard; small files share one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from sftdiv.data.row_parsing import kind_of_file

ROWS = 50_000  # of a shard, about 15 s of work
BYTES = 16 << 20  # of small files that share a shard


@dataclass(frozen=True)
class FilePart:
    """A file, or some rows of a Parquet file.

    Attributes:
        path: The file.
        rows: Rows, counted from 0; None for the whole file.
    """

    path: Path
    rows: range | None = None


FileShard = Sequence[FilePart]


def file_shards(paths: Iterable[Path]) -> list[FileShard]:
    """The files in shards, in their order; the same shards on every machine."""
    return list(_shards(paths))


def _shards(paths: Iterable[Path]) -> Iterator[FileShard]:
    pending: list[FilePart] = []
    size = 0
    for path in paths:
        ranges = _row_ranges(path)
        if pending and (len(ranges) > 1 or size + path.stat().st_size > BYTES):
            yield tuple(pending)
            pending, size = [], 0
        if len(ranges) > 1:
            yield from ((FilePart(path, rows),) for rows in ranges)
        else:
            pending.append(FilePart(path))
            size += path.stat().st_size
    if pending:
        yield tuple(pending)


def _row_ranges(path: Path) -> list[range]:
    """Equal ranges of the rows of a Parquet file; one for any other file, or one that is damaged."""
    if kind_of_file(path) != ".parquet":
        return [range(0)]
    import pyarrow.parquet as pq

    try:
        rows = pq.read_metadata(path).num_rows
    except Exception:  # it is read, and named as damaged, as a whole
        return [range(0)]
    count = max(1, -(-rows // ROWS))
    bounds = [rows * number // count for number in range(count + 1)]
    return [range(start, end) for start, end in pairwise(bounds)]
