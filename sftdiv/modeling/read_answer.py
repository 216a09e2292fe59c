"""The answer in generated tokens: up to the end token, without special tokens and without thoughts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sftdiv.llm.answer_text import END_OF_THOUGHT, THOUGHT, without_thoughts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Answer:
    """A generated response.

    Attributes:
        text: Text without special tokens, and without what a reasoning model thinks first.
        tokens: Number of tokens, including thoughts and the end token.
        ended: Whether it ended with an end token.
        cut: Whether the start of its prompt was truncated.
    """

    text: str
    tokens: int
    ended: bool
    cut: bool


def opens_thought(tokenizer: PreTrainedTokenizerBase, prompt: Sequence[int]) -> bool:
    """Whether a prompt ends with ``<think>``, as the templates of some reasoning models do."""
    return str(tokenizer.decode(prompt[-8:])).rstrip().endswith(THOUGHT)


def read_answer(
    tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], end_ids: set[int], *, cut: bool, begun: bool = False
) -> Answer:
    """The answer in generated tokens, up to the first end token and without thoughts.

    Args:
        tokenizer: Tokenizer of the model.
        ids: Generated tokens.
        end_ids: Tokens that end an answer.
        cut: Whether the start of the prompt was truncated.
        begun: Whether the prompt opened a thought, see `opens_thought`.
    """
    length = next((index for index, token in enumerate(ids) if token in end_ids), None)
    text = answer_text(tokenizer, ids[:length], begun=begun)
    return Answer(text, len(ids) if length is None else length + 1, length is not None, cut)


def answer_text(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], *, begun: bool) -> str:
    """Text of generated tokens without special tokens and without thoughts; see `read_answer`."""
    written = list(ids)
    end_of_thought = tokenizer.added_tokens_encoder.get(END_OF_THOUGHT)
    if end_of_thought not in written:
        return without_thoughts(str(tokenizer.decode(written, skip_special_tokens=True)), begun=begun)
    answer = written[len(written) - written[::-1].index(end_of_thought) :]  # some models skip it as a special token
    return without_thoughts(str(tokenizer.decode(answer, skip_special_tokens=True)).lstrip())
