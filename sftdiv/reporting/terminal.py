"""Text of data in the terminal: shown as it is, never as rich's markup or as control codes of the terminal.

Rows that hold names of cells, messages or commands are plain aligned lines without a frame, so that names are never
wrapped and the output can be piped and copied.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text


def literal(value: object) -> Text:
    """A value for a table or a line: brackets are no markup, and control characters are shown as escapes."""
    return Text("".join(_visible(character) for character in str(value)))


def _visible(character: str) -> str:
    if character in "\n\t" or unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}:
        return character
    is_joiner = character in "\u200c\u200d\u00ad"  # part of words in some scripts and of emoji
    return (
        character if is_joiner else f"\\u{ord(character):04x}" if ord(character) > 255 else f"\\x{ord(character):02x}"
    )


def open_table(title: str | Text, *, caption: str | None = None, min_width: int | None = None) -> Table:
    """A table of numbers without columns yet: a rule below its head, and no other lines.

    Args:
        title: Text above the table, on the left.
        caption: Text below it, on the left.
        min_width: Least width in characters.
    """
    return Table(
        title=title,
        caption=caption,
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        min_width=min_width,
    )


def print_lines(console: Console, lines: Iterable[str]) -> None:
    """Print lines as they are, whatever the width of the terminal."""
    for line in lines:
        console.print(literal(line), highlight=False, soft_wrap=True)


def aligned_lines(table: Iterable[Sequence[str]], *, numbers: bool = False) -> list[str]:
    """Rows of text as lines, every column padded to its widest entry.

    Args:
        table: Rows of equal length.
        numbers: Whether all columns but the first are aligned on the right.
    """
    rows = list(table)
    if not rows:
        return []
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        rest = [
            entry.rjust(width) if numbers else entry.ljust(width)
            for entry, width in zip(row[1:], widths[1:], strict=True)
        ]
        lines.append("  ".join([row[0].ljust(widths[0]), *rest]).rstrip())
    return lines
