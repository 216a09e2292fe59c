"""Converts the rows of a corpus one after another, and checks what only many rows can show.

A setting that names a column which no row has is an error, before a long read if the first rows lack it.
A carried column that holds text in one row and numbers in another is an error as well; both are named with
their place. Rows that are converted by several processes are checked together from what each has seen.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from sftdiv.data.bad_rows import BadRowError
from sftdiv.data.formats import Converter
from sftdiv.records import Example, SftdivError
from sftdiv.storage.escaping import listed
from sftdiv.storage.validate import did_you_mean

Reject = Callable[[str, int, str, str], None]  # file, line, reason, text
FIRST_ROWS, MOST_FIRST_ROWS = 1_000, 50_000  # of one file and of all, that must show the columns that settings name
KINDS = {bool: "true or false", int: "numbers", float: "numbers", str: "text", list: "lists"}


class Conversion:
    """Converts rows of one or more files.

    Args:
        converter: Conversion of one row.
        reject: Receives file, line, reason and text of each bad row.
    """

    def __init__(self, converter: Converter, reject: Reject) -> None:
        self._converter = converter
        self._reject = reject
        self._columns: dict[str, None] = {}
        self._kinds: dict[str, tuple[str, str]] = {}

    def examples(self, file: str, rows: Iterable[tuple[int, Any]]) -> Iterator[Example]:
        """The examples of the rows of one file.

        Raises:
            SftdivError: If a carried column mixes types.
        """
        for line, row in rows:
            if isinstance(row, Mapping):
                self._columns.update(dict.fromkeys(row))
            try:
                example = self._converter.example(row)
            except BadRowError as error:
                self._reject(file, line, str(error), json.dumps(row, ensure_ascii=False, default=str))
                continue
            self._check_kinds(example, f"{file}, line {line}")
            yield example

    def seen(self) -> dict[str, Any]:
        """Columns of the rows, and the kind and place of the first value of each carried column; JSON."""
        return {"columns": list(self._columns), "kinds": self._kinds}

    def add_seen(self, seen: Mapping[str, Any]) -> None:
        """Take over what the conversion of later rows has seen.

        Args:
            seen: See `seen`.

        Raises:
            SftdivError: If a carried column mixes types.
        """
        self._columns.update(dict.fromkeys(seen["columns"]))
        for name, (kind, place) in seen["kinds"].items():
            self._check_kind(name, kind, place)

    def check_columns(self) -> None:
        """Check, after the last row, that some row has each column that a setting names.

        Raises:
            SftdivError: With the setting and the columns that rows have.
        """
        check_names(self._converter, self._columns, rows="no row")

    def _check_kinds(self, example: Example, place: str) -> None:
        for name, value in example.extra.items():
            if value is not None:
                self._check_kind(name, KINDS[type(value)], place)

    def _check_kind(self, name: str, kind: str, place: str) -> None:
        known, first = self._kinds.setdefault(name, (kind, place))
        if kind != known:
            raise SftdivError(
                f"{place}: the column {name!r} of corpus.columns holds {kind}, and {known} in {first}: give it one type"
            )


def check_names(converter: Converter, names: Collection[Any], *, rows: str) -> None:
    """Check that each column that a setting names is among those that rows have; without any name nothing is known.

    Args:
        converter: Conversion with the settings.
        names: Names of columns.
        rows: The rows that were looked at, for the message.

    Raises:
        SftdivError: With the setting, the closest name and all names.
    """
    for setting, column in converter.settings_of_columns:
        if names and column not in names:
            known = [str(name) for name in names]
            raise SftdivError(
                f"{setting}={column!r} names a column that {rows} has.{did_you_mean(column, known)} "
                f"Known: {listed(known)}"
            )


def check_first_rows(converter: Converter, files: Iterable[Iterable[tuple[int, Any]]]) -> None:
    """Check before a long read that the first rows of files have each column that a setting names.

    Args:
        converter: Conversion with the settings.
        files: Rows of each file, read on demand; of each at most `FIRST_ROWS` are read, until every name is known.

    Raises:
        SftdivError: As `check_names` does.
    """
    missing = {column for _, column in converter.settings_of_columns}
    names: dict[Any, None] = {}
    looked_at = 0
    for rows in files:
        for _, row in islice(rows, FIRST_ROWS):
            if not missing:
                return
            if isinstance(row, Mapping):
                names.update(dict.fromkeys(row))
                missing.difference_update(row)
                looked_at += 1
        if not missing or looked_at >= MOST_FIRST_ROWS:
            break
    if missing:
        check_names(converter, names, rows=f"none of the first {looked_at:,} rows")
