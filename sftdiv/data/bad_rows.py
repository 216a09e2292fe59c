"""Rejected rows: the first one ends the run, or each is written to ``rejected.jsonl`` and counted by reason."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from sftdiv.records import SftdivError
from sftdiv.storage.validate import check_one_of

ON_BAD_ROW = ("error", "skip")
_MAX_CHARACTERS = 2000  # of a rejected text: enough to find the row; a line of a gigabyte is not copied


class Rejections:
    """The ``reject`` function of a reader; ``counts`` holds the number of rejected rows, in total and by reason."""

    def __init__(self, path: Path, *, on_bad_row: str) -> None:
        check_one_of("corpus.on_bad_row", on_bad_row, ON_BAD_ROW)
        self.path = path
        self.on_bad_row = on_bad_row
        self.counts: Counter[str] = Counter(rejected=0)

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
        if self.on_bad_row == "error":
            message = f"{file}, line {line}: {reason}. With corpus.on_bad_row=skip bad rows go to rejected.jsonl."
            raise SftdivError(message.encode(errors="backslashreplace").decode())
        row = {"file": file, "line": line, "reason": reason, "text": text[:_MAX_CHARACTERS]}
        with self.path.open("a", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
        self.counts["rejected"] += 1
        self.counts[f"rejected.{reason.partition(':')[0].replace(' ', '_')}"] += 1
