"""Every answer of a model on disk as it comes: what makes a killed run cheap to resume.

In: lines, one a text. Out: the file ``answers.jsonl`` and what it holds so far. A line is flushed as soon as it is written, so that kill -9
loses at most the answers in flight; a torn last line is cut off before anything is appended. The trade: answers are kept as the model gave
them, some hundred bytes a text, so that a better parser needs no model.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from sftdiv.units.tagging.parsing import parse_tags

log = logging.getLogger(__name__)
FILE = "answers.jsonl"
FAILED = "failed"  # the state of a text that got no answer that could be read


def text_key(text: str) -> str:
    """What a text goes by in the file, 16 hex digits."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


class Answers:
    """The answers of one tagging; see the module's text. A line is ``{"text", "answer", "state", ...}``; a text's last line counts."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self.lines: dict[str, dict[str, Any]] = {}
        self.path.touch()
        with self.path.open("rb+") as stream:
            for number, line in enumerate(stream, start=1):
                if not line.endswith(b"\n"):
                    stream.seek(-len(line), 2)
                    stream.truncate()
                    break
                self._read(number, line)
        self._stream = self.path.open("a", encoding="utf-8")

    def _read(self, number: int, line: bytes) -> None:
        try:
            read = json.loads(line)
            self.lines[read["text"]] = read
        except (ValueError, KeyError, TypeError):
            log.warning("line %d of %s is damaged; its text is asked again", number, self.path)

    def add(self, line: Mapping[str, Any]) -> None:
        """Write one answer through to the operating system."""
        self._stream.write(json.dumps(dict(line), ensure_ascii=False) + "\n")
        self._stream.flush()
        self.lines[line["text"]] = dict(line)

    def missing(self, texts: Iterable[str]) -> list[str]:
        """The texts without an answer that could be read, in the order given."""
        return [text for text in texts if self.lines.get(text_key(text), {}).get("state", FAILED) == FAILED]

    def tags(self, texts: Sequence[str]) -> list[list[str]]:
        """Tags of each text; none where no answer could be read."""
        return [parse_tags(line.get("answer") or "").tags for text in texts for line in [self.lines.get(text_key(text), {})]]

    def __enter__(self) -> Answers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stream.close()


def summary(lines: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Counts over the answers: how many of each state, malformed ones that were asked again, HTTP errors by kind, tokens."""
    answers = list(lines)
    states = Counter(str(line["state"]) for line in answers)
    errors: Counter[str] = Counter()
    tokens: Counter[str] = Counter()
    for line in answers:
        errors.update(line.get("errors", {}))
        tokens.update(line.get("tokens", {}))
    return {
        "asked": len(answers),
        **{state: states.get(state, 0) for state in ("clean", "repaired", "cut", FAILED)},
        "asked_again": sum(int(line.get("asked_again", 0)) for line in answers),
        "errors": dict(sorted(errors.items())),
        "tokens": dict(sorted(tokens.items())),
    }
