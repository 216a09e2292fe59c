"""Which tokens the responses of a rendered conversation are, after a prompt in the very tokens that generation will read.

In: texts, each with the characters of its responses. Out: token ids, and the tokens of each
response. A text is tokenized as a whole, and again up to each response. Mostly the second is the
beginning of the first, and the response is what follows. Where it is not (a line break that merges
with one at the start of the response, a segmentation that looks ahead), the ids are put together of
the prompt's own and of the response's, tokenized apart; where that would change the text, the
conversation is refused. The trade: prompts are tokenized twice, unless a special token stands
before the response, where tokenizers cut, whatever follows.
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
PORTION = 1000  # texts that are tokenized at once: what the tokenizer says of a token takes some hundred bytes


class _Whole(NamedTuple):
    """A text as one piece: its ids, and the tokens at which its spans start (None: to be found from the prompt) and end."""

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
        tokenizer: A fast one.
        rendered: Texts, each with the characters of the spans that follow a prompt; a span ends
            with a special token.

    Yields:
        The token ids of each text, and the tokens of each of its spans.

    Raises:
        SftdivError: The tokenizer is no fast one, a span does not end with a special token, or the
            tokens of a prompt change when the span
        follows and a cut between them would change the text.
    """
    if not tokenizer.is_fast:
        raise SftdivError(
            f"{type(tokenizer).__name__} does not say which characters a token stands for; use one with a tokenizer.json"
        )
    special = special_tokens(tokenizer)
    continuation = cache(lambda: _continuing(tokenizer))
    remaining = iter(rendered)
    while portion := list(islice(remaining, PORTION)):
        encodings = _encode(tokenizer, [text for text, _ in portion])
        wholes = [
            _whole(text, spans, encoding, special) for (text, spans), encoding in zip(portion, encodings, strict=True)
        ]
        open_prompts = [w.text[: w.spans[i][0]] for w in wholes for i, start in enumerate(w.starts) if start is None]
        prompts = iter(_encode(tokenizer, open_prompts))
        for whole in wholes:
            yield _joined(
                tokenizer, whole, [next(prompts).ids if start is None else None for start in whole.starts], continuation
            )


def special_tokens(tokenizer: PreTrainedTokenizerBase) -> dict[int, str]:
    """The text of each token that a tokenizer cuts out of a text before anything else, and that may end a response."""
    named = set(tokenizer.all_special_ids)
    return {
        number: token.content
        for number, token in tokenizer.added_tokens_decoder.items()
        if token.special or number in named
    }


def _encode(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> Sequence[Encoding]:
    if not texts:
        return []
    encoded = tokenizer(
        texts, add_special_tokens=False, return_attention_mask=False, return_token_type_ids=False, verbose=False
    )
    return encoded.encodings or []


def _whole(text: str, spans: Spans, encoding: Encoding, special: dict[int, str]) -> _Whole:
    ids = encoding.ids
    starts = [_after_special(text, start, encoding, ids, special) for start, _ in spans]
    ends = [_after_special(text, end, encoding, ids, special) for _, end in spans]
    found = [end for end in ends if end is not None]
    if len(found) < len(spans):
        raise SftdivError(
            "the chat template ends a response with no special token, so generation would not stop: add {{ eos_token }}"
        )
    return _Whole(text, spans, ids, starts, found)


def _after_special(text: str, position: int, encoding: Encoding, ids: list[int], special: dict[int, str]) -> int | None:
    """The token that follows the special token whose text ends at a character; None where none does."""
    token = encoding.char_to_token(position - 1) if position else None
    # An unknown token is special too, but its text does not stand there.
    return (
        token + 1
        if token is not None and ids[token] in special and text.endswith(special[ids[token]], 0, position)
        else None
    )


def _joined(
    tokenizer: PreTrainedTokenizerBase,
    whole: _Whole,
    prompts: Sequence[list[int] | None],
    continuation: Callable[[], Tokenizer],
) -> tuple[list[int], Spans]:
    """The ids of a text and the tokens of its spans, each span after the ids of its prompt (None: as in the whole)."""
    ids: list[int] = []
    found: Spans = []
    done = 0  # tokens of the whole that are taken over
    for turn, ((start, end), first, last, prompt) in enumerate(
        zip(whole.spans, whole.starts, whole.ends, prompts, strict=True)
    ):
        if prompt is None or whole.ids[: len(prompt)] == prompt:
            cut = first if prompt is None else len(prompt)
            before, response = whole.ids[done:cut], whole.ids[cut:last]
        else:
            before, response = prompt[done:], continuation().encode(whole.text[start:end], add_special_tokens=False).ids
            if _text(tokenizer, before + response) != _text(tokenizer, whole.ids[done:last]):
                raise SftdivError(_refusal(tokenizer, whole, turn, prompt))
        found.append((len(ids) + len(before), len(ids) + len(before) + len(response)))
        ids += before + response
        done = last
    return ids + whole.ids[done:], found


def _text(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))


def _continuing(tokenizer: PreTrainedTokenizerBase) -> Tokenizer:
    """The same tokenizer for a text that another one precedes: without the space that SentencePiece puts before a text."""
    from tokenizers import Tokenizer

    state = json.loads(tokenizer.backend_tokenizer.to_str())
    parts = {part: _without_prefix(state[part]) for part in ("normalizer", "pre_tokenizer")}
    return Tokenizer.from_str(json.dumps(state | parts | {"truncation": None, "padding": None}))


def _without_prefix(part: dict[str, Any] | None) -> dict[str, Any] | None:
    """What a tokenizer.json says of a step, with nothing put before the text."""
    if part is None or part["type"] == "Prepend":
        return None
    if part["type"] == "Sequence":
        name = "normalizers" if "normalizers" in part else "pretokenizers"
        return part | {name: [step for each in part[name] if (step := _without_prefix(each)) is not None]}
    nothing = {"prepend_scheme": "never", "add_prefix_space": False}  # of Metaspace, of ByteLevel
    return part | {key: value for key, value in nothing.items() if key in part}


def _refusal(tokenizer: PreTrainedTokenizerBase, whole: _Whole, turn: int, prompt: list[int]) -> str:
    """Why a conversation cannot be learned, shown from the last token that the prompt and the whole share."""
    start, end = whole.spans[turn]
    ends, begins = whole.text[max(start - 40, 0) : start], whole.text[start : min(end, start + 40)]
    same = next((i for i, (one, other) in enumerate(zip(prompt, whole.ids, strict=False)) if one != other), 0)
    shown = slice(max(same - 1, 0), len(prompt) + 1)
    alone, together = (tokenizer.convert_ids_to_tokens(ids[shown]) for ids in (prompt, whole.ids))
    return (
        f"the prompt of response {turn + 1} of {len(whole.spans)} ends with {ends!r}, in the tokens {alone}; with the response {begins!r} "
        f"they are {together}, and a cut between the two would change the text, so that generation would not see what was learned: "
        "give a template whose prompt ends with a special token or a line break, such as model/template=chatml"
    )
