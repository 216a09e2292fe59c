"""What a tagger's ledger holds: a model's answer to each text, as it was given.

In: texts and an open ledger. Out: the tags of each. The trade: answers are kept as the model gave
them, some hundred bytes a text, so that a better parser needs no model.
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
    """What a text goes by in the file, 16 hex digits."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def answer_line(answer: str) -> dict[str, Any]:
    """What is written down of one answer; one that cannot be read is no answer."""
    state = parse_tags(answer).state
    return {"answer": None, "state": FAILED} if state == "malformed" else {"answer": answer, "state": state}


def tags_of(ledger: Journal, texts: Sequence[str]) -> list[list[str]]:
    """Tags of each text; none where no answer could be read."""
    return [parse_tags((ledger.line(text_key(text)) or {}).get("answer") or "").tags for text in texts]
