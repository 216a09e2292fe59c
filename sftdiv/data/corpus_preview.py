"""The first examples of a corpus as they were understood, which show at a glance whether the columns were right."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sftdiv.records import Corpus
from sftdiv.storage.escaping import escape_controls

log = logging.getLogger(__name__)
Turns = list[dict[str, Any]]
FIRST = "first"  # key in corpus.json
ABOUT = "corpus.json"
PREVIEWED = 2  # examples
LONGEST_TURN, LONGEST_LINE = 400, 120  # characters kept of a turn, and shown of it in a log


def cut_turns(messages: Sequence[Mapping[str, Any]]) -> Turns:
    """The turns of a conversation, each cut to what a preview shows."""
    return [{"role": turn["role"], "content": _cut(str(turn["content"]), LONGEST_TURN)} for turn in messages]


def first_examples(corpus: Corpus) -> list[Turns]:
    """The first examples in the order of the data; in canonical order for a corpus made by an earlier version."""
    files = corpus.table.cache_files
    path = Path(files[0]["filename"]).with_name(ABOUT) if files else None
    if path is not None and path.is_file():
        kept = json.loads(path.read_text(encoding="utf-8")).get(FIRST)
        if kept is not None:
            return [list(turns) for turns in kept]
    return [cut_turns(messages) for messages in corpus.table[:PREVIEWED]["messages"]]


def preview_lines(examples: Sequence[Turns]) -> list[str]:
    """The examples as lines of text, one a turn: ``1  user: What is two and two?``."""
    lines = []
    for number, turns in enumerate(examples, start=1):
        for position, turn in enumerate(turns):
            text = _cut(" ".join(escape_controls(turn["content"]).split()), LONGEST_LINE)
            lines.append(f"  {number if position == 0 else ' '}  {turn['role']}: {text}")
    return lines


def show_first(corpus: Corpus) -> None:
    """Log the first examples."""
    log.info(
        "corpus: the first examples as they were understood:\n%s", "\n".join(preview_lines(first_examples(corpus)))
    )


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 3]}..."
