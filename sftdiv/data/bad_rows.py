"""What becomes of bad rows: the first ends the run, or each is written to ``rejected.jsonl`` and counted by reason."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from sftdiv.records import SftdivError

ON_BAD_ROW = ("error", "skip")
_KEPT_CHARACTERS = 2000  # of a rejected text: enough to find it, and a gigabyte line does not become a gigabyte here


class Rejections:
    """The ``reject`` function that a reader calls; ``counts`` says how many rows it took, in all and by reason."""

    def __init__(self, path: Path, *, on_bad_row: str) -> None:
        if on_bad_row not in ON_BAD_ROW:
            raise SftdivError(f"corpus.on_bad_row={on_bad_row!r} is unknown. Known: {', '.join(ON_BAD_ROW)}.")
        self.path = path
        self.on_bad_row = on_bad_row
        self.counts: Counter[str] = Counter(rejected=0)

    def __call__(self, file: str, line: int, reason: str, text: str) -> None:
        """Refuse one row.

        Raises:
            SftdivError: when bad rows are errors; the message names file, line and reason.
        """
        if self.on_bad_row == "error":
            message = f"{file}, line {line}: {reason}. With corpus.on_bad_row=skip bad rows go to rejected.jsonl."
            raise SftdivError(message.encode(errors="backslashreplace").decode())
        row = {"file": file, "line": line, "reason": reason, "text": text[:_KEPT_CHARACTERS]}
        with self.path.open("a", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
        self.counts["rejected"] += 1
        self.counts[f"rejected.{reason.partition(':')[0].replace(' ', '_')}"] += 1
