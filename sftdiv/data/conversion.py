"""Converts the rows of a corpus one after another, and checks what only many rows can show.

A setting that names a column which no row has is an error, and so is a carried column that holds text
in one row and numbers in another; both are named with their place.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from sftdiv.data.bad_rows import BadRowError
from sftdiv.data.formats import Converter
from sftdiv.records import Example, SftdivError
from sftdiv.storage.escaping import listed
from sftdiv.storage.validate import did_you_mean

Reject = Callable[[str, int, str, str], None]  # file, line, reason, text
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

    def check_columns(self) -> None:
        """Check, after the last row, that some row has each column that a setting names.

        Raises:
            SftdivError: With the setting and the columns that rows have.
        """
        for setting, column in self._converter.settings_of_columns.items():
            if self._columns and column not in self._columns:
                names = [str(name) for name in self._columns]
                raise SftdivError(
                    f"{setting}={column!r} names a column that no row has.{did_you_mean(column, names)} "
                    f"Known: {listed(names)}"
                )

    def _check_kinds(self, example: Example, place: str) -> None:
        for name, value in example.extra.items():
            if value is None:
                continue
            kind, first = self._kinds.setdefault(name, (KINDS[type(value)], place))
            if KINDS[type(value)] != kind:
                raise SftdivError(
                    f"{place}: the column {name!r} of corpus.columns holds {KINDS[type(value)]}, "
                    f"and {kind} in {first}: give it one type"
                )
