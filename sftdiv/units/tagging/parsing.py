"""Tags from a language model's answer.

The answer should be a JSON list of ``{"tag": ..., "explanation": ...}``. Code fences, prose around
the list, trailing commas, Python quotes and lists in pieces are repaired without loss; of a
truncated list the complete entries are kept. An incomplete entry is discarded rather than completed
by a guess, as general JSON repairers do.
"""

from __future__ import annotations

import ast
import json
import re
from dataclasses import dataclass
from typing import Any, Literal

from sftdiv.llm.answer_text import escape_surrogates, without_thoughts

State = Literal["clean", "repaired", "cut", "malformed"]
BRACKET = re.compile(r"[\[{]")
TRAILING_COMMA = re.compile(r",(\s*[\]}])")
LIST_OF_STRINGS = re.compile(r'\s*\[\s*"')
COMPLETE_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"\s*(?=[,\]])')
MOST_NESTED = 20  # lists and objects around a tag; an answer with more is noise, and reading on would exhaust the stack
MOST_UNCLOSED = 100  # brackets; an answer with more is noise, and scanning on would take quadratic time


@dataclass(frozen=True)
class Parsed:
    """Tags of an answer.

    Attributes:
        tags: Distinct tags, in the order of the answer.
        state: ``clean`` and ``repaired`` lost nothing, ``cut`` lost the end, ``malformed``
            everything.
    """

    tags: list[str]
    state: State


def parse_tags(answer: str) -> Parsed:
    """The distinct tags of an answer, in its order; an empty list is a valid answer."""
    text = without_thoughts(answer).strip()
    try:
        tags = _tags_in(json.loads(text))
    except (ValueError, RecursionError):  # no JSON, or a number of thousands of digits
        tags = None
    if tags is not None:
        return Parsed(_distinct(tags), "clean")
    tags, unclosed = _tags_in_pieces(TRAILING_COMMA.sub(r"\1", text))
    if tags is not None and not unclosed:
        return Parsed(_distinct(tags), "repaired")
    python_tags = _tags_in_python(text)
    if python_tags is not None:
        return Parsed(_distinct(python_tags), "repaired")
    complete = tags or _complete_strings(text)
    return Parsed(_distinct(complete), "cut" if complete else "malformed")


def _tags_in(value: Any, depth: int = 0) -> list[str] | None:
    """Tags in a decoded value; None where it is not a list of tags, ``{"tags": ...}`` or ``{"tag": ...}``."""
    if depth > MOST_NESTED:
        return None
    if isinstance(value, dict):
        entry = {str(key).lower(): item for key, item in value.items()}
        return [entry["tag"]] if isinstance(entry.get("tag"), str) else _tags_in(entry.get("tags"), depth + 1)
    if not isinstance(value, list):
        return None
    tags: list[str] = []
    for item in value:
        tags.extend([item] if isinstance(item, str) else _tags_in(item, depth + 1) or [])
    return tags if tags or not value else None


def _tags_in_pieces(text: str) -> tuple[list[str] | None, bool]:
    """Tags of all complete JSON values in a text, and whether some bracket in it is never closed."""
    decoder = json.JSONDecoder(strict=False)
    tags: list[str] | None = None
    position, unclosed = 0, 0
    while unclosed < MOST_UNCLOSED and (bracket := BRACKET.search(text, position)):
        try:
            value, position = decoder.raw_decode(text, bracket.start())
        except (ValueError, RecursionError):
            position, unclosed = bracket.end(), unclosed + 1
            continue
        piece = _tags_in(value)
        tags = tags if piece is None else [*(tags or []), *piece]
    return tags, unclosed > 0


def _tags_in_python(text: str) -> list[str] | None:
    """Tags of a list in Python's notation (single quotes), which small models write."""
    start, end = BRACKET.search(text), max(text.rfind("]"), text.rfind("}"))
    if start is None or end < start.start():
        return None
    try:
        return _tags_in(ast.literal_eval(text[start.start() : end + 1]))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _complete_strings(text: str) -> list[str]:
    """The complete strings of a truncated list of strings."""
    return COMPLETE_STRING.findall(text) if LIST_OF_STRINGS.match(text) else []


def _distinct(tags: list[str]) -> list[str]:
    """The tags without repetitions, with single spaces, without empty ones, in characters that can be stored."""
    return [tag for tag in dict.fromkeys(" ".join(escape_surrogates(tag).split()) for tag in tags) if tag]
