"""Lines of a tagger's journal: a model's answer to each text, unchanged.

Answers are stored as the model gave them, some hundred bytes per text, and parsed when they are
read, so that a better parser needs no further model calls.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from sftdiv.llm.journal import FAILED, Journal
from sftdiv.units.tagging.parsing import parse_tags

FILE = "answers.jsonl"
STATES = ("clean", "repaired", "cut", FAILED)


def text_key(text: str) -> str:
    """Key of a text in the journal, 16 hex digits."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def answer_line(answer: str) -> dict[str, Any]:
    """The journal line of an answer, without its key; an answer that cannot be parsed counts as failed."""
    state = parse_tags(answer).state
    return {"answer": None, "state": FAILED} if state == "malformed" else {"answer": answer, "state": state}


def tags_of(journal: Journal, texts: Sequence[str]) -> list[list[str]]:
    """Tags of each text; empty where no answer could be parsed."""
    return [parse_tags((journal.line(text_key(text)) or {}).get("answer") or "").tags for text in texts]
