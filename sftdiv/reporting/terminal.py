"""Text of data in the terminal: shown as it is, never as rich's markup or as control codes of the terminal."""

from __future__ import annotations

import unicodedata

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
