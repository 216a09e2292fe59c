"""Tokenizes conversations and labels the tokens that enter the loss: by default the responses with their end tokens.

A response is found by construction, not by searching for markers: the conversation is rendered up to
the response, once as a prompt and once including it, and the difference is the response. The
trade-off: a template that renders earlier turns differently from the last (as those of reasoning
models do) is rejected for conversations of several turns, unless only the last response is labelled.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sftdiv.modeling.prompt_boundaries import Spans, tokenize_spans
from sftdiv.records import SftdivError
from sftdiv.storage.validate import check_one_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Messages = Sequence[Mapping[str, str]]
IGNORED = -100  # the label that torch's cross entropy ignores
LOSS_ON, LOSS_TURNS, TOO_LONG = ("response", "all"), ("all", "last"), ("truncate", "drop")


@dataclass(frozen=True)
class Labelled:
    """One tokenized conversation.

    Attributes:
        input_ids: Token ids, shape (tokens,).
        labels: Token ids, or ``IGNORED`` for tokens outside the loss, shape (tokens,).
        truncated: Whether the conversation was truncated to the maximum length.
        dropped: Whether the conversation is whole but too long, and must be left out.
    """

    input_ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    truncated: bool
    dropped: bool = False

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def label_tokens(self) -> int:
        """Number of label tokens; the first token has no context and never is one."""
        return int((self.labels[1:] != IGNORED).sum())


def label_conversations(
    tokenizer: PreTrainedTokenizerBase,
    conversations: Sequence[Messages],
    *,
    max_length: int,
    loss_on: str = "response",
    loss_turns: str = "all",
    too_long: str = "truncate",
) -> list[Labelled]:
    """Tokenize and label conversations, in the order given.

    Args:
        tokenizer: Fast tokenizer with a chat template.
        conversations: Messages of each conversation.
        max_length: Maximum number of tokens.
        loss_on: "response": labels on the tokens of the assistant's turns and their end tokens.
            "all": labels on every token but a begin-of-sequence token at the start.
        loss_turns: Labelled assistant turns: "all", or "last". The latter omits what follows the
            last one, and needs a template that renders only that turn as a prompt would.
        too_long: "truncate" a conversation over ``max_length`` (see `shorten`), or "drop" it: it is
            returned whole and marked as ``dropped``.

    Raises:
        SftdivError: A setting is unknown; the template rejects a conversation, ends a response with
            no special token, or renders earlier turns differently from the last; or a prompt cannot
            be tokenized separately.
    """
    _check_settings(loss_on, loss_turns, too_long)
    responses = "none" if loss_on == "all" else loss_turns
    rendered = (render(tokenizer, messages, responses=responses) for messages in conversations)
    examples = []
    for ids, spans in tokenize_spans(tokenizer, rendered):
        input_ids = np.array(ids, dtype=np.int64)
        if loss_on == "all":
            spans = [(int(ids[:1] == [tokenizer.bos_token_id]), len(ids))]
        labels = np.full_like(input_ids, IGNORED)
        for start, end in spans:
            labels[start:end] = input_ids[start:end]
        if too_long == "drop" and len(ids) > max_length:
            examples.append(Labelled(input_ids, labels, truncated=False, dropped=True))
        else:
            examples.append(shorten(input_ids, labels, max_length=max_length))
    return examples


def end_token(tokenizer: PreTrainedTokenizerBase) -> int:
    """Id of the token that ends a response; in some chat formats it is not the tokenizer's end-of-sequence token."""
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    (example,) = label_conversations(tokenizer, [turns], max_length=sys.maxsize)
    return int(example.labels[example.labels != IGNORED][-1])


def render(tokenizer: PreTrainedTokenizerBase, messages: Messages, *, responses: str = "all") -> tuple[str, Spans]:
    """Text of a conversation and the character spans [start, end) of its responses, each with its end token.

    Args:
        tokenizer: Tokenizer with a chat template.
        messages: Messages of the conversation. The first one is no response, even from the assistant.
        responses: Responses to find: "all", "last" (the text then ends with it), or "none".
    """
    turns = [dict(message) for message in messages]
    answers = [index for index, turn in enumerate(turns) if turn["role"] == "assistant" and index > 0]
    if responses == "last" and answers:
        turns, answers = turns[: answers[-1] + 1], answers[-1:]
    text = _apply_template(tokenizer, turns)
    return text, [] if responses == "none" else [_response_span(tokenizer, turns, index, text) for index in answers]


def _response_span(
    tokenizer: PreTrainedTokenizerBase, turns: list[dict[str, str]], index: int, text: str
) -> tuple[int, int]:
    prompt = _apply_template(tokenizer, turns[:index], prompt=True)
    with_response = text if index == len(turns) - 1 else _apply_template(tokenizer, turns[: index + 1])
    if not with_response.startswith(prompt):
        raise SftdivError(
            f"the chat template's prompt for turn {index + 1} of {len(turns)} is not how the turn begins: "
            f"it ends with {prompt[-40:]!r}; use another template: model/template=chatml"
        )
    if not text.startswith(with_response):
        raise SftdivError(
            f"the chat template renders turn {index + 1} of {len(turns)} differently once more turns follow, so that "
            "its labels are undefined; label only the last response with loss.turns=last, or use another template: "
            "model/template=chatml"
        )
    return len(prompt), len(with_response.rstrip())  # a template may write whitespace after the end token


def shorten(input_ids: NDArray[np.int64], labels: NDArray[np.int64], *, max_length: int) -> Labelled:
    """Truncate a conversation to ``max_length`` so that label tokens remain.

    First the start of the prompt is removed, until the prompt takes half of the length (evaluation
    truncates prompts at the same end), then the end of the response. No example is lost, so that a
    subset of N examples trains on N.
    """
    excess = len(input_ids) - max_length
    if excess <= 0:
        return Labelled(input_ids, labels, truncated=False)
    labelled = np.flatnonzero(labels != IGNORED)
    prompt_length = int(labelled[0]) if len(labelled) else 0
    start = min(excess, max(prompt_length - max_length // 2, 0))
    window = slice(start, start + max_length)
    return Labelled(input_ids[window], labels[window], truncated=True)


def _check_settings(loss_on: str, loss_turns: str, too_long: str) -> None:
    check_one_of("loss.on", loss_on, LOSS_ON)
    check_one_of("loss.turns", loss_turns, LOSS_TURNS)
    check_one_of("data.too_long", too_long, TOO_LONG)
    if (loss_on, loss_turns) == ("all", "last"):
        raise SftdivError("loss.on=all puts every turn into the loss; loss.turns=last needs loss.on=response")


def render_prompt(tokenizer: PreTrainedTokenizerBase, messages: Messages) -> str:
    """Text of a conversation up to the start of the next response.

    Raises:
        SftdivError: The template rejects the conversation.
    """
    return _apply_template(tokenizer, [dict(message) for message in messages], prompt=True)


def _apply_template(tokenizer: PreTrainedTokenizerBase, turns: list[dict[str, str]], *, prompt: bool = False) -> str:
    try:
        return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=prompt))
    except Exception as error:  # a template is code of others, and so is the choice of one: both may raise anything
        roles = ", ".join(turn["role"] for turn in turns)
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)[:300]
        raise SftdivError(
            f"the chat template rejects the turns {roles}: {reason}; use another one: model/template=chatml"
        ) from error
