"""Reads the rows of one file as ``(line, row)`` pairs, one at a time, whatever the size of the file.

Rows are dictionaries; ``line`` is the line on which the row begins (for Parquet and Arrow, the row's
number). Pieces that cannot be read are passed to a function ``reject``, so that a row is either given or
rejected. Text files may be compressed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Protocol

from sftdiv.data.arrow_rows import read_arrow
from sftdiv.data.byte_source import COMPRESSIONS, RejectRow, Rows
from sftdiv.data.csv_rows import read_csv, read_tsv
from sftdiv.data.json_rows import read_json, read_jsonl
from sftdiv.data.parquet_rows import read_parquet


class ReadText(Protocol):
    """Reads the rows of one kind of text file."""

    def __call__(self, path: Path, *, limit: int, reject: RejectRow) -> Rows:
        """Rows of ``path`` of at most ``limit`` bytes each; ``reject`` receives each piece that is left out."""
        ...


class ReadTable(Protocol):
    """Reads the rows of one kind of table."""

    def __call__(self, path: Path, *, limit: int, reject: RejectRow, needed: Collection[str]) -> Rows:
        """As `ReadText`; only columns of ``needed`` are decoded."""
        ...


JSON_READERS: Mapping[str, ReadText] = {".jsonl": read_jsonl, ".ndjson": read_jsonl, ".json": read_json}
CSV_READERS: Mapping[str, ReadTable] = {".csv": read_csv, ".tsv": read_tsv}
ARROW_READERS: Mapping[str, ReadTable] = {".parquet": read_parquet, ".arrow": read_arrow}
KINDS = f"{', '.join((*JSON_READERS, *CSV_READERS))} (also with {', '.join(COMPRESSIONS)}), {', '.join(ARROW_READERS)}"


def kind_of_file(path: Path) -> str | None:
    """The suffix that says how a file is read, without that of its compression; None if it is not known."""
    suffix = path.suffix.lower()
    if suffix in ARROW_READERS:
        return suffix
    inner = Path(path.stem).suffix.lower() if suffix in COMPRESSIONS else suffix
    return inner if inner in JSON_READERS or inner in CSV_READERS else None


def read_rows(path: Path, *, limit: int, reject: RejectRow, needed: Collection[str], rows: range | None = None) -> Rows:
    """Rows of a file of a known kind.

    Args:
        path: The file.
        limit: Size in bytes from which a row is rejected instead of loaded.
        reject: Receives line, reason and text of each piece that is left out.
        needed: Columns that may decide an example; others need not be decoded.
        rows: Rows of a Parquet file to read, counted from 0; None for all rows of any file.

    Raises:
        SftdivError: If a needed column stands twice.
    """
    kind = kind_of_file(path) or ""
    if rows is not None:
        return read_parquet(path, limit=limit, reject=reject, needed=needed, rows=rows)
    if kind in ARROW_READERS:
        return ARROW_READERS[kind](path, limit=limit, reject=reject, needed=needed)
    read = JSON_READERS.get(kind) or partial(CSV_READERS[kind], needed=needed)
    return _some_rows(partial(read, path, limit=limit), reject)


def _some_rows(read: Callable[..., Rows], reject: RejectRow) -> Rows:
    """Rows of a text file; one without any is rejected as a whole, since a file that was cut may look like it."""
    rejected = 0

    def counting(line: int, reason: str, text: str) -> None:
        nonlocal rejected
        rejected += 1
        reject(line, reason, text)

    rows = 0
    for rows, row in enumerate(read(reject=counting), start=1):  # noqa: B007
        yield row
    if not rows and not rejected:
        reject(1, "empty file: it has no rows", "")
