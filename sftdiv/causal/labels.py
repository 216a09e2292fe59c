"""Conversations as token ids with labels: the response tokens and the token that ends each response are learned, all else is not.

In: messages and a tokenizer with a chat template. Out: ids and labels of each conversation.
A response is found by construction, not by searching for markers: the conversation is rendered up to the response, once as a prompt and
once with it, and what the second adds to the first is the response. The trade: a template that renders earlier turns differently from the
last (as reasoning models' do) is refused for conversations of several turns.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sftdiv.records import SftdivError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Messages = Sequence[Mapping[str, str]]
Spans = list[tuple[int, int]]
IGNORED = -100  # the label that torch's cross entropy leaves out


@dataclass(frozen=True)
class Labelled:
    """One conversation: ``input_ids`` and ``labels`` (the id where it is learned, else ``IGNORED``), both (tokens,) int64."""

    input_ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    truncated: bool

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def label_tokens(self) -> int:
        """How many tokens are learned."""
        return int((self.labels[1:] != IGNORED).sum())


def label_conversations(tokenizer: PreTrainedTokenizerBase, conversations: Sequence[Messages], *, max_length: int) -> list[Labelled]:
    """Tokenize conversations and label their responses, in the order given.

    Args:
        tokenizer: A fast tokenizer with a chat template.
        conversations: Messages of each conversation; every assistant turn is learned.
        max_length: Tokens at most; see `shorten`.

    Raises:
        SftdivError: The template ends a response with no special token, or renders earlier turns differently from the last.
    """
    if not conversations:
        return []
    rendered = [render(tokenizer, messages) for messages in conversations]
    encoded = tokenizer([text for text, _ in rendered], add_special_tokens=False, return_offsets_mapping=True)
    ends = set(tokenizer.all_special_ids)
    examples = []
    for (_, spans), ids, offsets in zip(rendered, encoded["input_ids"], encoded["offset_mapping"], strict=True):
        input_ids, starts = np.array(ids, dtype=np.int64), np.array(offsets, dtype=np.int64).reshape(-1, 2)[:, 0]
        labels = np.full_like(input_ids, IGNORED)
        for start, end in spans:
            learned = (starts >= start) & (starts < end)
            labels[learned] = input_ids[learned]
            if not learned.any() or int(input_ids[learned][-1]) not in ends:
                raise SftdivError(
                    "the chat template ends a response with no special token, so generation would not stop: add {{ eos_token }}"
                )
        examples.append(shorten(input_ids, labels, max_length=max_length))
    return examples


def end_token(tokenizer: PreTrainedTokenizerBase) -> int:
    """The id of the token that ends a response; in some chat formats it is not the tokenizer's end-of-sequence token."""
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    (example,) = label_conversations(tokenizer, [turns], max_length=sys.maxsize)
    return int(example.labels[example.labels != IGNORED][-1])


def render(tokenizer: PreTrainedTokenizerBase, messages: Messages) -> tuple[str, Spans]:
    """The text of a conversation and, for every assistant turn, the characters [start, end) of the response and its end token."""
    turns = [dict(message) for message in messages]
    text = _apply(tokenizer, turns)
    spans = []
    for position, turn in enumerate(turns):
        if turn["role"] == "assistant" and position > 0:  # what opens a conversation answers nothing
            prompt = _apply(tokenizer, turns[:position], prompt=True)
            whole = text if position == len(turns) - 1 else _apply(tokenizer, turns[: position + 1])
            if not (whole.startswith(prompt) and text.startswith(whole)):
                raise SftdivError(
                    f"the chat template renders turn {position + 1} of {len(turns)} differently once more turns follow, so its labels "
                    "are not defined; give another template: model/template=chatml"
                )
            spans.append((len(prompt), len(whole.rstrip())))  # a template may write white space after the end token
    return text, spans


def shorten(input_ids: NDArray[np.int64], labels: NDArray[np.int64], *, max_length: int) -> Labelled:
    """Cut a conversation to ``max_length`` so that something to learn is left.

    First the start of the prompt goes, until the prompt takes half of the length (evaluation cuts prompts at the same end), then the
    end of the response. No example is lost, so that a subset of N trains on N.
    """
    excess = len(input_ids) - max_length
    if excess <= 0:
        return Labelled(input_ids, labels, truncated=False)
    learned = np.flatnonzero(labels != IGNORED)
    prompt = int(learned[0]) if len(learned) else 0
    first = min(excess, max(prompt - max_length // 2, 0))
    window = slice(first, first + max_length)
    return Labelled(input_ids[window], labels[window], truncated=True)


def _apply(tokenizer: PreTrainedTokenizerBase, turns: list[dict[str, str]], *, prompt: bool = False) -> str:
    return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=prompt))
