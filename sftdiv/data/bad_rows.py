"""Rejected rows: the first one ends the run, or each is written to ``rejected.jsonl`` and counted by reason."""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from sftdiv.records import SftdivError
from sftdiv.storage.escaping import escape_controls, shortened
from sftdiv.storage.validate import check_one_of

log = logging.getLogger(__name__)
ON_BAD_ROW = ("error", "skip")
REJECTED = "rejected.jsonl"
REST = "unreadable rest"  # opens the reason where a file cannot be read beyond a line
LONGEST = 2000  # of a rejected text: enough to find the row; a line of a gigabyte is not copied


class BadRowError(Exception):
    """A row that cannot be used; the message is the reason."""


def json_reason(error: Exception) -> str:
    """Message of a JSON decoder without the position, which counts from where decoding began."""
    return re.split(r"(?: starting)?(?: at)?: line ", str(error), maxsplit=1)[0]


class NoExampleError(SftdivError):
    """A corpus has no example.

    Attributes:
        rejected: File of the rejected rows; None if no row was read.
    """

    def __init__(self, message: str, rejected: Path | None) -> None:
        super().__init__(message)
        self.rejected = rejected


class Rejections:
    """The ``reject`` function of a reader.

    Attributes:
        counts: Number of rejected rows, in total and by reason.
        first: Message of the first rejected row; empty before.
    """

    def __init__(self, path: Path, *, on_bad_row: str) -> None:
        check_one_of("corpus.on_bad_row", on_bad_row, ON_BAD_ROW)
        self.path = path
        self.on_bad_row = on_bad_row
        self.counts: Counter[str] = Counter(rejected=0)
        self.first = ""

    def __call__(self, file: str, line: int, reason: str, text: str) -> None:
        """Reject one row.

        Args:
            file: Path of the file, or name of the data set.
            line: Line or row number.
            reason: A fixed phrase, a colon, and details; rows are counted by the phrase.
            text: The row as it was read.

        Raises:
            SftdivError: If bad rows are errors; the message holds file, line and reason.
        """
        reason = escape_controls(shortened(reason))
        place = f", line {line}" if line else ""  # 0: the file as a whole
        message = f"{escape_controls(file)}{place}: {reason}"
        if self.on_bad_row == "error":
            raise SftdivError(f"{message}. With corpus.on_bad_row=skip bad rows go to rejected.jsonl.")
        phrase = reason.partition(":")[0]
        if phrase == REST:
            log.warning("%s", message)
        row = {"file": file, "line": line, "reason": reason, "text": text[:LONGEST]}
        with self.path.open("a", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
        self.first = self.first or message
        self.counts["rejected"] += 1
        self.counts[f"rejected.{phrase.replace(' ', '_')}"] += 1


def no_example(rejections: Rejections, kept: Path) -> NoExampleError:
    """The error of a corpus without examples; what was rejected is moved to ``kept``."""
    rejected = rejections.counts["rejected"]
    if not rejected:
        return NoExampleError("The corpus has no example: 0 rows were read.", None)
    shutil.move(rejections.path, kept)
    reasons = [
        f"{count:,} {name.removeprefix('rejected.').replace('_', ' ')}"
        for name, count in rejections.counts.most_common()
        if name != "rejected"
    ]
    return NoExampleError(
        f"The corpus has no example: {rejected:,} rows were read and all of them rejected ({', '.join(reasons)}). "
        f"The first: {rejections.first}. All are in {kept}",
        kept,
    )


def warn_of_unread(counts: Mapping[str, int]) -> None:
    """Name what was left out of the corpus, on every load."""
    unread = [
        f"{name.removeprefix('unread.')} ({count:,})" for name, count in counts.items() if name.startswith("unread.")
    ]
    if unread:
        log.warning(
            "corpus: columns and fields that rows hold and that are not read: %s; corpus.ignore=[NAME] says that this "
            "is meant, corpus.mapping names the columns that hold a conversation",
            ", ".join(unread),
        )
    if files := counts.get("rejected." + REST.replace(" ", "_")):
        log.warning(
            "corpus: %s files could not be read to their end: rows are missing (see %s)", f"{files:,}", REJECTED
        )
