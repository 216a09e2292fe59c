"""Rows of a file of comma- or tab-separated values under a header.

An unclosed quote swallows all lines up to the next one. Where the lines behind it are rows by themselves,
only the line with the quote is rejected and reading goes on behind it; otherwise the rest of the file is
rejected, because there is no telling where the next row begins.
"""

from __future__ import annotations

import csv
from collections import Counter, deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from sftdiv.data.byte_source import RejectRow, Rows, read_lines, rest
from sftdiv.records import SftdivError
from sftdiv.storage.escaping import listed


class _Lines:
    """Lines with their numbers, of which some may be given back."""

    def __init__(self, lines: Iterator[tuple[int, str]]) -> None:
        self._lines = lines
        self._returned: deque[tuple[int, str]] = deque()

    def next(self) -> tuple[int, str] | None:
        """The next line; None at the end."""
        return self._returned.popleft() if self._returned else next(self._lines, None)

    def give_back(self, lines: list[tuple[int, str]]) -> None:
        """Put lines before the remaining ones."""
        self._returned.extendleft(reversed(lines))


@dataclass(frozen=True)
class _Record:
    lines: list[tuple[int, str]]
    fields: list[str]
    error: str


def read_csv(path: Path, *, limit: int, reject: RejectRow, needed: Collection[str] = (), delimiter: str = ",") -> Rows:
    """Rows under a header; rows of another length than the header are rejected.

    Args:
        path: The file.
        limit: Largest row, in bytes.
        reject: Receives what is left out.
        needed: Columns that decide an example: none of them may stand twice in the header.
        delimiter: Separator of fields.

    Raises:
        SftdivError: If the header names a needed column twice.
    """
    csv.field_size_limit(limit)  # process-wide: the csv module offers no other way
    lines = _Lines(read_lines(path, limit=limit, reject=reject))
    header: list[str] | None = None
    while record := _next_record(lines, limit, delimiter):
        first_line, text = record.lines[0][0], "".join(line for _, line in record.lines)
        if record.error:
            behind = record.lines[1:]
            if header is not None and _are_rows(behind, len(header), delimiter):
                reject(first_line, f"not CSV: {record.error}", record.lines[0][1])
                lines.give_back(behind)
                continue
            reject(first_line, rest(f"not CSV, perhaps a quote that is not closed: {record.error}"), text)
            return
        if not record.fields:
            continue
        if header is None:
            header = record.fields
            _check_header(path, header, needed)
        elif len(record.fields) == len(header):
            yield first_line, dict(zip(header, record.fields, strict=True))
        else:
            last_line = record.lines[-1][0]
            where = f", in lines {first_line} to {last_line}" if last_line > first_line else ""
            reject(
                first_line, f"wrong columns: {len(record.fields)} fields under a header of {len(header)}{where}", text
            )


def read_tsv(path: Path, *, limit: int, reject: RejectRow, needed: Collection[str] = ()) -> Rows:
    """Rows of tab-separated values; see `read_csv`."""
    return read_csv(path, limit=limit, reject=reject, needed=needed, delimiter="\t")


def _next_record(lines: _Lines, limit: int, delimiter: str) -> _Record | None:
    """The next record with its lines: fields, or why it is none; None at the end of the file."""
    taken: list[tuple[int, str]] = []
    size = 0

    def fed() -> Iterator[str]:
        nonlocal size
        while size <= limit and (line := lines.next()) is not None:
            taken.append(line)
            size += len(line[1])
            yield line[1]

    try:
        fields = next(csv.reader(fed(), strict=True, delimiter=delimiter), None)
    except csv.Error as error:
        reason = f"a row of more than corpus.max_row_bytes={limit}" if size > limit else str(error)
        return _Record(taken, [], reason)
    return None if fields is None else _Record(taken, fields, "")


def _are_rows(lines: list[tuple[int, str]], columns: int, delimiter: str) -> bool:
    """Whether lines are rows by themselves: most parse, and those that do have as many fields as the header."""
    sound, broken = 0, 0
    for _, line in lines:
        try:
            fields = next(csv.reader([line], strict=True, delimiter=delimiter), [])
        except csv.Error:
            broken += 1
            continue
        if fields and len(fields) != columns:
            return False
        sound += bool(fields)
    return sound >= broken


def _check_header(path: Path, header: list[str], needed: Collection[str]) -> None:
    twice = [name for name, count in Counter(header).items() if count > 1 and name in needed]
    if twice:
        raise SftdivError(f"{path}, line 1: the header names {listed(twice)} twice: keep one column of that name")
