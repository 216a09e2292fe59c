"""Tags out of what a language model answered.

In: an answer that should be a JSON list of ``{"tag": ..., "explanation": ...}``. Out: the tags, and
how well formed the answer was. Fences, prose around the list, trailing commas, Python quotes and
lists in pieces are mended without loss; of a list that was cut off the whole entries are kept. The
trade: half an entry is thrown away rather than completed by guess, as general JSON repairers do.
"""

from __future__ import annotations

import ast
import json
import re
from dataclasses import dataclass
from typing import Any, Literal

State = Literal["clean", "repaired", "cut", "malformed"]
THOUGHTS = re.compile(r"<think>.*?(</think>|\Z)", re.DOTALL)  # reasoning models put them before the answer
BRACKET = re.compile(r"[\[{]")
TRAILING_COMMA = re.compile(r",(\s*[\]}])")
LIST_OF_TEXTS = re.compile(r'\s*\[\s*"')
MOST_BROKEN = (
    100  # brackets that never close: beyond these an answer is noise, and looking on would take quadratic time
)
WHOLE_TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"\s*(?=[,\]])')


@dataclass(frozen=True)
class Parsed:
    """Tags of an answer; ``clean`` and ``repaired`` lost nothing, ``cut`` the end, ``malformed`` all."""

    tags: list[str]
    state: State


def parse_tags(answer: str) -> Parsed:
    """The distinct tags of an answer, in its order; an empty list is an answer too."""
    text = THOUGHTS.sub("", answer).strip()
    try:
        found = _tags_in(json.loads(text))
    except (json.JSONDecodeError, RecursionError):
        found = None
    if found is not None:
        return Parsed(_distinct(found), "clean")
    found, broken = _pieces(TRAILING_COMMA.sub(r"\1", text))
    if found is not None and not broken:
        return Parsed(_distinct(found), "repaired")
    quoted = _python(text)
    if quoted is not None:
        return Parsed(_distinct(quoted), "repaired")
    whole = found or _whole_texts(text)
    return Parsed(_distinct(whole), "cut" if whole else "malformed")


def _tags_in(value: Any) -> list[str] | None:
    """Tags in a decoded value; None where it is no list of tags, ``{"tags": ...}`` or ``{"tag": ...}``."""
    if isinstance(value, dict):
        named = {str(key).lower(): item for key, item in value.items()}
        return [named["tag"]] if isinstance(named.get("tag"), str) else _tags_in(named.get("tags"))
    if not isinstance(value, list):
        return None
    inside = [[item] if isinstance(item, str) else _tags_in(item) for item in value]
    found = [tag for tags in inside if tags is not None for tag in tags]
    return found if found or not value else None


def _pieces(text: str) -> tuple[list[str] | None, bool]:
    """Tags of all whole JSON values in a text, and whether some bracket in it never closes."""
    decoder = json.JSONDecoder(strict=False)
    found: list[str] | None = None
    position, broken = 0, 0
    while broken < MOST_BROKEN and (bracket := BRACKET.search(text, position)):
        try:
            value, position = decoder.raw_decode(text, bracket.start())
        except (json.JSONDecodeError, RecursionError):
            position, broken = bracket.end(), broken + 1
            continue
        tags = _tags_in(value)
        found = found if tags is None else [*(found or []), *tags]
    return found, broken > 0


def _python(text: str) -> list[str] | None:
    """Tags of a list in Python's notation (single quotes), which small models write."""
    start, end = BRACKET.search(text), max(text.rfind("]"), text.rfind("}"))
    if start is None or end < start.start():
        return None
    try:
        return _tags_in(ast.literal_eval(text[start.start() : end + 1]))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _whole_texts(text: str) -> list[str]:
    """The finished strings of a list of strings that was cut off."""
    return WHOLE_TEXT.findall(text) if LIST_OF_TEXTS.match(text) else []


def _distinct(tags: list[str]) -> list[str]:
    return [tag for tag in dict.fromkeys(" ".join(tag.split()) for tag in tags) if tag]
