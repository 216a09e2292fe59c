"""Validates tokenized examples before training; renders a preview.

Input is labelled examples and their names. Output is the indices of the examples that are trained
on, with the number of dropped ones by reason, and a text in which the trained tokens are marked. The
trade-off: a few examples without a label token are dropped and counted; many stop the training,
since they are a sign of a wrong template or a too small maximum length.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sftdiv.modeling.chat_labels import IGNORED, Labelled
from sftdiv.records import SftdivError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CAUSES = "is there an assistant turn after a user turn, is model.max_length large enough, does model/template fit?"


@dataclass(frozen=True)
class CheckedExamples:
    """Result of the checks.

    Attributes:
        valid: Indices of the examples to train on, ascending.
        too_long: Number of examples dropped for their length.
        masked: Number of examples dropped because they have no label token.
        truncated: Number of valid examples that were truncated.
        ended: Share of the other valid examples with an end token among their labels; None if there are none.
    """

    valid: list[int]
    too_long: int
    masked: int
    truncated: int
    ended: float | None


def check_examples(
    examples: Sequence[Labelled],
    names: Sequence[str],
    *,
    vocabulary: int,
    entries: int,
    end_ids: Collection[int],
    pad_id: int,
    max_masked_share: float,
) -> CheckedExamples:
    """Drop examples without a label token, and reject a training set that is probably a mistake.

    Args:
        examples: Examples from `label_conversations`.
        names: Names of the examples, for errors.
        vocabulary: Rows of the model's embedding.
        entries: Entries of the tokenizer, for the error that compares the two.
        end_ids: Tokens that end a response.
        pad_id: Padding token.
        max_masked_share: Maximum share of examples without a label token. Examples dropped for their length are
            not counted.

    Raises:
        SftdivError: No example is left, too many have no label token, an id has no embedding, or no
            response ends with an end token.
    """
    fitting = [index for index, example in enumerate(examples) if not example.dropped]
    valid = [index for index in fitting if examples[index].label_tokens]
    masked = len(fitting) - len(valid)
    _check_masked(valid, masked, examples, names, max_masked_share)
    for index in valid:
        _check_ids(examples[index].input_ids, f"of example {names[index]}", vocabulary, entries)
    _check_ids(np.array([pad_id]), "for padding", vocabulary, entries)
    whole = [examples[index] for index in valid if not examples[index].truncated]
    truncated = len(valid) - len(whole)
    return CheckedExamples(valid, len(examples) - len(fitting), masked, truncated, _ended_share(whole, end_ids))


def _ended_share(whole: Sequence[Labelled], end_ids: Collection[int]) -> float | None:
    """Share of untruncated examples with an end token among their labels; None if there are no such examples."""
    if not whole:
        return None
    ended = sum(any(bool((example.labels[1:] == end).any()) for end in end_ids) for example in whole)
    if not ended:
        known = ", ".join(str(end) for end in sorted(end_ids))
        raise SftdivError(
            f"none of {len(whole)} untruncated examples has a label on a token that ends a response ({known}), so "
            "generation would not stop: use a template that writes {{ eos_token }} after each response, such as "
            "model/template=chatml"
        )
    return ended / len(whole)


def _check_masked(
    valid: list[int], masked: int, examples: Sequence[Labelled], names: Sequence[str], max_share: float
) -> None:
    if not valid:
        too_long = sum(example.dropped for example in examples)
        dropped = ""
        if too_long:
            dropped = f" ({too_long} are longer than model.max_length and dropped; data.too_long=truncate keeps them)"
        raise SftdivError(f"none of {len(examples)} conversations has a label token{dropped}: {CAUSES}")
    share = masked / (masked + len(valid))
    if share > max_share:
        unlabelled = [
            name for name, example in zip(names, examples, strict=True) if not (example.dropped or example.label_tokens)
        ]
        raise SftdivError(
            f"{masked} of {masked + len(valid)} conversations ({share:.1%}) have no label token, such as "
            f"{', '.join(unlabelled[:3])}; the limit is data.max_masked_share={max_share}: {CAUSES}"
        )


def _check_ids(ids: NDArray[np.int64], origin: str, vocabulary: int, entries: int) -> None:
    outside = ids[(ids < 0) | (ids >= vocabulary)]
    if len(outside):
        raise SftdivError(
            f"token {outside[0]} {origin} has no embedding: the tokenizer has {entries:,} entries, "
            f"the model {vocabulary:,} rows; use the model's own tokenizer, without added tokens"
        )


def preview(
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Labelled],
    names: Sequence[str],
    count: int = 3,
    *,
    width: int = 600,
) -> str:
    """Some examples, evenly spread over all, as text in which ⟦ ⟧ enclose the trained tokens; special tokens are shown.

    Args:
        tokenizer: Tokenizer of the examples.
        examples: Training examples.
        names: Names of the examples.
        count: Number of examples to show.
        width: Maximum characters of a trained or untrained stretch; the middle of a longer one is omitted.
    """
    chosen = np.unique(np.linspace(0, len(examples) - 1, min(count, len(examples))).round().astype(int))
    return "\n".join(_marked_text(tokenizer, examples[index], names[index], width) for index in chosen)


def _marked_text(tokenizer: PreTrainedTokenizerBase, example: Labelled, name: str, width: int) -> str:
    trained = example.labels != IGNORED
    trained[:1] = False  # the first token has no context and is never predicted
    pieces, end, before = [], 0, ""
    for is_trained, run in groupby(trained.tolist()):
        end += len(list(run))
        # decoded with its context, since alone it could lose a leading space
        text = str(
            tokenizer.decode(
                example.input_ids[:end].tolist(), skip_special_tokens=False, clean_up_tokenization_spaces=False
            )
        )
        piece = _middle_omitted(text[len(before) :], width)
        pieces.append(f"⟦{piece}⟧" if is_trained else piece)
        before = text
    truncated = ", truncated" if example.truncated else ""
    header = f"--- {name}: {len(example)} tokens, {example.label_tokens} of them trained{truncated} ---"
    return f"{header}\n{''.join(pieces)}\n"


def _middle_omitted(text: str, width: int) -> str:
    omitted = len(text) - width
    half = width // 2
    return text if omitted <= 0 else f"{text[:half]} […{omitted:,} characters…] {text[len(text) - half :]}"
