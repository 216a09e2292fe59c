"""Lines of files and messages. Only a line feed ends one; ``str.splitlines`` also cuts at U+2028, which texts hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LONGEST = 300  # characters of a message's first line


def read_json_lines(path: Path) -> list[Any]:
    """The values of a JSON-lines file; empty lines are skipped."""
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line.strip()]


def first_line(error: BaseException) -> str:
    """The first line of an error's message that is not blank, shortened; the error's type where it has no message."""
    lines = (line.strip() for line in str(error).split("\n"))
    return next(filter(None, lines), type(error).__name__)[:LONGEST]
