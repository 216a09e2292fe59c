"""Conversations as token ids with labels: what is learned of each, by default the responses and the token that ends each of them.

In: messages and a tokenizer with a chat template. Out: ids and labels of each conversation. A
response is found by construction, not by searching for markers: the conversation is rendered up to
the response, once as a prompt and once with it, and what the second adds to the first is the
response. The trade: a template that renders earlier turns differently from the last (as reasoning
models' do) is refused for conversations of several turns, unless the last response alone is
learned.
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

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Messages = Sequence[Mapping[str, str]]
IGNORED = -100  # the label that torch's cross entropy leaves out
LOSS_ON, LOSS_TURNS, TOO_LONG = ("response", "all"), ("all", "last"), ("truncate", "drop")


@dataclass(frozen=True)
class Labelled:
    """One conversation: ``input_ids`` and ``labels`` (the id where it is learned, else ``IGNORED``), both (tokens,) int64.

    ``truncated`` where it was cut to fit; ``dropped`` where it is whole but longer than is allowed,
    and is to be left out.
    """

    input_ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    truncated: bool
    dropped: bool = False

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def label_tokens(self) -> int:
        """How many tokens are learned; nothing stands before the first one, so that it never is."""
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
    """Tokenize conversations and label what is learned of them, in the order given.

    Args:
        tokenizer: A fast tokenizer with a chat template.
        conversations: Messages of each conversation.
        max_length: Tokens at most.
        loss_on: "response": the tokens of the assistant's turns and the special token that ends
            each. "all": every token but a
        begin-of-sequence token at the start. loss_turns: Which of the assistant's turns: "all", or
        "last", which leaves out what comes after the last one, and needs a template that renders
        only that turn as a prompt would. too_long: What becomes of a conversation over
        ``max_length``: "truncate" (see `shorten`), or "drop": it comes back whole and marked as
        ``dropped``.

    Raises:
        SftdivError: A setting is unknown, the template refuses a conversation, ends a response with
            no special token, or renders earlier
        turns differently from the last, or a prompt cannot be tokenized for itself.
    """
    _check(loss_on, loss_turns, too_long)
    responses = "none" if loss_on == "all" else loss_turns
    rendered = (render(tokenizer, messages, responses=responses) for messages in conversations)
    examples = []
    for ids, spans in tokenize_spans(tokenizer, rendered):
        input_ids = np.array(ids, dtype=np.int64)
        if loss_on == "all":
            spans = [(int(ids[:1] == [tokenizer.bos_token_id]), len(ids))]
        labels = _labels(input_ids, spans)
        if too_long == "drop" and len(ids) > max_length:
            examples.append(Labelled(input_ids, labels, truncated=False, dropped=True))
        else:
            examples.append(shorten(input_ids, labels, max_length=max_length))
    return examples


def end_token(tokenizer: PreTrainedTokenizerBase) -> int:
    """The id of the token that ends a response; in some chat formats it is not the tokenizer's end-of-sequence token."""
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    (example,) = label_conversations(tokenizer, [turns], max_length=sys.maxsize)
    return int(example.labels[example.labels != IGNORED][-1])


def render(tokenizer: PreTrainedTokenizerBase, messages: Messages, *, responses: str = "all") -> tuple[str, Spans]:
    """The text of a conversation and the characters [start, end) of its responses, each with its end token.

    Args:
        tokenizer: Its chat template renders.
        messages: The conversation. What opens it answers nothing, also where the assistant says it.
        responses: Which are found: "all", "last" (the text then ends with it), or "none".
    """
    turns = [dict(message) for message in messages]
    answers = [position for position, turn in enumerate(turns) if turn["role"] == "assistant" and position > 0]
    if responses == "last" and answers:
        turns, answers = turns[: answers[-1] + 1], answers[-1:]
    text = _apply(tokenizer, turns)
    return text, [] if responses == "none" else [_response(tokenizer, turns, position, text) for position in answers]


def _response(
    tokenizer: PreTrainedTokenizerBase, turns: list[dict[str, str]], position: int, text: str
) -> tuple[int, int]:
    prompt = _apply(tokenizer, turns[:position], prompt=True)
    whole = text if position == len(turns) - 1 else _apply(tokenizer, turns[: position + 1])
    if not whole.startswith(prompt):
        raise SftdivError(
            f"the chat template writes a prompt for turn {position + 1} of {len(turns)} that the turn does not begin with: it ends with "
            f"{prompt[-40:]!r}; give another template: model/template=chatml"
        )
    if not text.startswith(whole):
        raise SftdivError(
            f"the chat template renders turn {position + 1} of {len(turns)} differently once more turns follow, so its labels "
            "are not defined; learn the last response alone with loss.turns=last, or give another template: model/template=chatml"
        )
    return len(prompt), len(whole.rstrip())  # a template may write white space after the end token


def shorten(input_ids: NDArray[np.int64], labels: NDArray[np.int64], *, max_length: int) -> Labelled:
    """Cut a conversation to ``max_length`` so that something to learn is left.

    First the start of the prompt goes, until the prompt takes half of the length (evaluation cuts
    prompts at the same end), then the end of the response. No example is lost, so that a subset of
    N trains on N.
    """
    excess = len(input_ids) - max_length
    if excess <= 0:
        return Labelled(input_ids, labels, truncated=False)
    learned = np.flatnonzero(labels != IGNORED)
    prompt = int(learned[0]) if len(learned) else 0
    first = min(excess, max(prompt - max_length // 2, 0))
    window = slice(first, first + max_length)
    return Labelled(input_ids[window], labels[window], truncated=True)


def _check(loss_on: str, loss_turns: str, too_long: str) -> None:
    settings = {
        "loss.on": (loss_on, LOSS_ON),
        "loss.turns": (loss_turns, LOSS_TURNS),
        "data.too_long": (too_long, TOO_LONG),
    }
    for name, (value, known) in settings.items():
        if value not in known:
            raise SftdivError(f"{name} is {value!r}; known: {', '.join(known)}")
    if (loss_on, loss_turns) == ("all", "last"):
        raise SftdivError("loss.on=all learns every token of every turn; loss.turns=last goes with loss.on=response")


def _labels(input_ids: NDArray[np.int64], spans: Spans) -> NDArray[np.int64]:
    labels = np.full_like(input_ids, IGNORED)
    for start, end in spans:
        labels[start:end] = input_ids[start:end]
    return labels


def _apply(tokenizer: PreTrainedTokenizerBase, turns: list[dict[str, str]], *, prompt: bool = False) -> str:
    from jinja2 import TemplateError

    try:
        return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=prompt))
    except TemplateError as error:
        roles = ", ".join(turn["role"] for turn in turns)
        raise SftdivError(
            f"the chat template refuses the turns {roles}: {error}; give another: model/template=chatml"
        ) from error
