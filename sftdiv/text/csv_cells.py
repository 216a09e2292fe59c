"""Text in CSV files that spreadsheets open: no cell begins as a formula, and every cell is read back the same.

A spreadsheet runs a cell that begins with ``=``, ``+``, ``-`` or ``@``, also after a tab or a carriage return. Such
text gets an apostrophe in front, as spreadsheets themselves mark text; text that begins with apostrophes and such a
sign gets one more, so that taking one away gives back what was there. Numbers are left as they are.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_QUOTED_OR_END = re.compile(r'("(?:[^"]|"")*")|\r\n')
_ESCAPED = re.compile(r"''*[=+\-@\t\r]")


def csv_cell(value: Any) -> Any:
    """A value as it is written; only text that would be a formula is changed."""
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def from_csv_cell(text: str) -> str:
    """The text that a cell was written from."""
    return text[1:] if _ESCAPED.match(text) else text


def csv_line(values: Iterable[Any]) -> str:
    """One line of a CSV file, its end included."""
    buffer = io.StringIO()
    csv.writer(buffer).writerow(map(csv_cell, values))  # with this end of lines a carriage return in a cell is quoted
    return buffer.getvalue().removesuffix("\r\n") + "\n"


def csv_text(frame: pd.DataFrame) -> str:
    """A table as CSV with its columns' names and without its index."""
    escaped = frame.rename(columns=csv_cell)
    for position, kind in enumerate(escaped.dtypes):
        if kind.kind not in "biufcmM":
            escaped.isetitem(position, escaped.iloc[:, position].map(csv_cell, na_action="ignore").to_numpy())
    text = str(escaped.to_csv(index=False, lineterminator="\r\n"))  # as in `csv_line`
    return _QUOTED_OR_END.sub(lambda match: match[1] or "\n", text)
