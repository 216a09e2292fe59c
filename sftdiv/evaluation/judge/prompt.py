"""A prompt: a conversation that a model is to answer, once or several times.

In: what is said. Out: the prompt's name, which its content decides, and the one text that judges,
files and reports show of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from sftdiv.storage.hashing import content_hash


@dataclass(frozen=True)
class Prompt:
    """A conversation to be answered: ``opening`` ends with a user turn, each of ``following`` is said after the answer to the one before.

    ``references`` are answers that came with it, one a turn, or none.
    """

    opening: tuple[tuple[str, str], ...]  # role, text
    following: tuple[str, ...] = ()
    source: str = ""
    references: tuple[str, ...] = ()

    @cached_property
    def key(self) -> str:
        """What it goes by: a hash of what is said, 16 hex digits."""
        return content_hash([self.opening, self.following])

    @property
    def answers(self) -> int:
        """How many answers it takes."""
        return 1 + len(self.following)

    @property
    def instruction(self) -> str:
        """All that is said to the model, as one text: the turn alone where there is one, else each under its role."""
        said = [*self.opening, *(("user", text) for text in self.following)]
        return said[0][1] if len(said) == 1 else "\n\n".join(f"[{role}]\n{text}" for role, text in said)


def shown(replies: Sequence[str]) -> str:
    """All answers to a prompt as one text: the answer alone where there is one, else each under its number."""
    return (
        replies[0]
        if len(replies) == 1
        else "\n\n".join(f"[answer {number}]\n{text}" for number, text in enumerate(replies, start=1))
    )
