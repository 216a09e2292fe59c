"""A prompt: a conversation that a model is to answer, once or several times.

A prompt is identified by a hash of its texts. Judges, files and reports show it as one text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from sftdiv.storage.hashing import content_hash


@dataclass(frozen=True)
class Prompt:
    """A conversation to be answered.

    Attributes:
        opening: Turns up to the first answer, as pairs of role and text; the last is a user turn.
        following: Further user turns, each after the answer to the one before.
        source: Name of the source, such as a benchmark's category.
        references: Published answers, one per turn, or none.
    """

    opening: tuple[tuple[str, str], ...]
    following: tuple[str, ...] = ()
    source: str = ""
    references: tuple[str, ...] = ()

    @cached_property
    def key(self) -> str:
        """Hash of the texts, 16 hex digits."""
        return content_hash([self.opening, self.following])

    @property
    def answer_count(self) -> int:
        """Number of answers, one per turn."""
        return 1 + len(self.following)

    @property
    def instruction(self) -> str:
        """All input turns as one text: the turn itself where there is one, else each under its role."""
        turns = [*self.opening, *(("user", text) for text in self.following)]
        return turns[0][1] if len(turns) == 1 else "\n\n".join(f"[{role}]\n{text}" for role, text in turns)


def join_answers(answers: Sequence[str]) -> str:
    """All answers to a prompt as one text: the answer itself where there is one, else each under its number."""
    if len(answers) == 1:
        return answers[0]
    return "\n\n".join(f"[answer {number}]\n{text}" for number, text in enumerate(answers, start=1))
