"""Token boundaries of the responses in a rendered conversation, after prompts in exactly the tokens of generation.

Input is texts with the character spans of their responses. Output is token ids and the token spans
of the responses. A text is tokenized as a whole, and again up to each response. Usually the second
result is the beginning of the first, and the response is the rest. If it is not (a line break that
merges with one at the start of the response, a segmentation that looks ahead), the ids are those of
the prompt followed by those of the response, tokenized separately; if that would change the text,
the conversation is rejected. The trade-off: prompts are tokenized twice, unless a special token
precedes the response, at which tokenizers always split.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from sftdiv.records import SftdivError

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer
    from transformers import PreTrainedTokenizerBase

Spans = list[tuple[int, int]]  # [start, end) each, ascending
TEXTS_PER_CALL = 1000  # an encoding takes some hundred bytes per token


class _TokenizedText(NamedTuple):
    """A text tokenized as a whole.

    Attributes:
        text: The text.
        spans: Character spans of the responses.
        ids: Token ids of the text.
        starts: First token of each span; None if it must be found from the prompt.
        ends: Token after each span.
    """

    text: str
    spans: Spans
    ids: list[int]
    starts: list[int | None]
    ends: list[int]


def tokenize_spans(
    tokenizer: PreTrainedTokenizerBase, rendered: Iterable[tuple[str, Spans]]
) -> Iterator[tuple[list[int], Spans]]:
    """Tokenize texts and find the tokens of their spans, in the order given.

    Args:
        tokenizer: Fast tokenizer.
        rendered: Texts with the character spans that follow a prompt; a span ends with a special token.

    Yields:
        Token ids of a text, and the token spans.

    Raises:
        SftdivError: The tokenizer is not a fast one, a span does not end with a special token, or
            the tokens of a prompt change when the span follows and separating them would change the
            text.
    """
    if not tokenizer.is_fast:
        raise SftdivError(
            f"{type(tokenizer).__name__} does not map tokens to characters; use a tokenizer with a tokenizer.json"
        )
    special = special_tokens(tokenizer)
    continuation = cache(lambda: _continuation_tokenizer(tokenizer))
    remaining = iter(rendered)
    while portion := list(islice(remaining, TEXTS_PER_CALL)):
        encodings = _encode(tokenizer, [text for text, _ in portion])
        tokenized = [
            _tokenized(text, spans, encoding, special)
            for (text, spans), encoding in zip(portion, encodings, strict=True)
        ]
        prompts: list[str] = []
        for whole in tokenized:
            prompts += [whole.text[: whole.spans[i][0]] for i, start in enumerate(whole.starts) if start is None]
        prompt_encodings = iter(_encode(tokenizer, prompts))
        for whole in tokenized:
            prompt_ids = [next(prompt_encodings).ids if start is None else None for start in whole.starts]
            yield _joined(tokenizer, whole, prompt_ids, continuation)


def special_tokens(tokenizer: PreTrainedTokenizerBase) -> dict[int, str]:
    """Text of each token that a tokenizer splits off before anything else, and that may end a response."""
    special_ids = set(tokenizer.all_special_ids)
    return {
        number: token.content
        for number, token in tokenizer.added_tokens_decoder.items()
        if token.special or number in special_ids
    }


def _encode(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> Sequence[Encoding]:
    if not texts:
        return []
    encoded = tokenizer(
        texts, add_special_tokens=False, return_attention_mask=False, return_token_type_ids=False, verbose=False
    )
    return encoded.encodings or []


def _tokenized(text: str, spans: Spans, encoding: Encoding, special: dict[int, str]) -> _TokenizedText:
    ids = encoding.ids
    starts = [_after_special(text, start, encoding, ids, special) for start, _ in spans]
    ends = [_after_special(text, end, encoding, ids, special) for _, end in spans]
    known_ends = [end for end in ends if end is not None]
    if len(known_ends) < len(spans):
        raise SftdivError(
            "the chat template ends a response with no special token, so generation would not stop: add {{ eos_token }}"
        )
    return _TokenizedText(text, spans, ids, starts, known_ends)


def _after_special(text: str, position: int, encoding: Encoding, ids: list[int], special: dict[int, str]) -> int | None:
    """Index of the token after the special token whose text ends at a character; None if there is no such token."""
    token = encoding.char_to_token(position - 1) if position else None
    # An unknown token is special too, but its text is not in the conversation
    if token is not None and ids[token] in special and text.endswith(special[ids[token]], 0, position):
        return token + 1
    return None


def _joined(
    tokenizer: PreTrainedTokenizerBase,
    whole: _TokenizedText,
    prompts: Sequence[list[int] | None],
    continuation: Callable[[], Tokenizer],
) -> tuple[list[int], Spans]:
    """Token ids of a text and its token spans, each span after the ids of its prompt (None: as in the whole text)."""
    ids: list[int] = []
    spans: Spans = []
    done = 0  # tokens of the whole text that are copied or replaced
    for turn, ((start, end), first, last, prompt) in enumerate(
        zip(whole.spans, whole.starts, whole.ends, prompts, strict=True)
    ):
        if prompt is None or whole.ids[: len(prompt)] == prompt:
            boundary = first if prompt is None else len(prompt)
            before, response = whole.ids[done:boundary], whole.ids[boundary:last]
        else:
            response = continuation().encode(whole.text[start:end], add_special_tokens=False).ids
            before = prompt[done:]
            if _decode(tokenizer, before + response) != _decode(tokenizer, whole.ids[done:last]):
                raise SftdivError(_rejection(tokenizer, whole, turn, prompt))
        spans.append((len(ids) + len(before), len(ids) + len(before) + len(response)))
        ids += before + response
        done = last
    return ids + whole.ids[done:], spans


def _decode(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))


def _continuation_tokenizer(tokenizer: PreTrainedTokenizerBase) -> Tokenizer:
    """The same tokenizer for a text that follows another one: without the space that SentencePiece prepends."""
    from tokenizers import Tokenizer

    state = json.loads(tokenizer.backend_tokenizer.to_str())
    parts = {part: _without_prefix(state[part]) for part in ("normalizer", "pre_tokenizer")}
    return Tokenizer.from_str(json.dumps(state | parts | {"truncation": None, "padding": None}))


def _without_prefix(part: dict[str, Any] | None) -> dict[str, Any] | None:
    """A normalizer or pre-tokenizer of a tokenizer.json that prepends nothing to the text."""
    if part is None or part["type"] == "Prepend":
        return None
    if part["type"] == "Sequence":
        name = "normalizers" if "normalizers" in part else "pretokenizers"
        steps = [_without_prefix(step) for step in part[name]]
        return part | {name: [step for step in steps if step is not None]}
    no_prefix = {"prepend_scheme": "never", "add_prefix_space": False}  # of Metaspace, of ByteLevel
    return part | {key: value for key, value in no_prefix.items() if key in part}


def _rejection(tokenizer: PreTrainedTokenizerBase, whole: _TokenizedText, turn: int, prompt: list[int]) -> str:
    """Error message that shows the tokens from the last one that the prompt and the whole text share."""
    start, end = whole.spans[turn]
    prompt_end, response_start = whole.text[max(start - 40, 0) : start], whole.text[start : min(end, start + 40)]
    pairs = enumerate(zip(prompt, whole.ids, strict=False))
    first_difference = next((i for i, (in_prompt, in_text) in pairs if in_prompt != in_text), 0)
    shown = slice(max(first_difference - 1, 0), len(prompt) + 1)
    separate, together = (tokenizer.convert_ids_to_tokens(ids[shown]) for ids in (prompt, whole.ids))
    return (
        f"the prompt of response {turn + 1} of {len(whole.spans)} ends with {prompt_end!r}, in the tokens {separate}; "
        f"with the response {response_start!r} they are {together}, and separating the two would change the text: "
        "generation would not see the tokens of training; use a template whose prompt ends with a special token or a "
        "line break, such as model/template=chatml"
    )
