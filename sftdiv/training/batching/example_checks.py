"""What is checked of the examples before the first step, and a look at three of them.

In: labelled examples, in the order of their names. Out: which of them are trained on, with the
count of each that is left out and why; and a text in which what is trained on is marked. The trade:
a few examples without anything to learn are dropped and counted, where many stop the training, for
they are a sign of a wrong template or of too short a length.
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

CAUSES = "is there an assistant turn after a user turn, is model.max_length long enough, does model/template fit?"


@dataclass(frozen=True)
class Checked:
    """Positions of the examples that are ``kept``, ascending, and how many are left out as ``too_long`` or as ``masked``: nothing to learn.

    ``truncated`` of the kept are cut to fit; ``ended`` is the share of the others that learn to
    end, None where there is none.
    """

    kept: list[int]
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
) -> Checked:
    """Leave out what cannot be trained on, and refuse a training that cannot be meant.

    Args:
        examples: From `label_conversations`.
        names: What errors call each of them.
        vocabulary: Rows of the model's embedding.
        entries: Of the tokenizer, for the error that compares them.
        end_ids: The tokens that end a response.
        pad_id: The token that fills rows up.
        max_masked_share: Above this share of examples without a label token the training is
            refused. Those that are dropped for their
        length by choice count neither as such nor in the whole.

    Raises:
        SftdivError: No example is left, too many have nothing to learn, an id has no embedding, or
            no example learns to end.
    """
    fitting = [position for position, example in enumerate(examples) if not example.dropped]
    kept = [position for position in fitting if examples[position].label_tokens]
    masked = len(fitting) - len(kept)
    _check_masked(kept, masked, examples, names, max_masked_share)
    for position in kept:
        _check_ids(examples[position].input_ids, f"of example {names[position]}", vocabulary, entries)
    _check_ids(np.array([pad_id]), "that fills rows up", vocabulary, entries)
    whole = [examples[position] for position in kept if not examples[position].truncated]
    ended = sum(any(bool((example.labels[1:] == end).any()) for end in end_ids) for example in whole)
    if whole and not ended:
        known = ", ".join(str(end) for end in sorted(end_ids))
        raise SftdivError(
            f"none of {len(whole)} examples that are whole learns a token that ends a response ({known}), so that generation would not "
            "stop: give a template that writes {{ eos_token }} after each response, such as model/template=chatml"
        )
    return Checked(
        kept, len(examples) - len(fitting), masked, len(kept) - len(whole), ended / len(whole) if whole else None
    )


def _check_masked(
    kept: list[int], masked: int, examples: Sequence[Labelled], names: Sequence[str], most: float
) -> None:
    too_long = sum(example.dropped for example in examples)
    if not kept:
        dropped = (
            f" ({too_long} are longer than model.max_length and dropped; data.too_long=truncate keeps them)"
            if too_long
            else ""
        )
        raise SftdivError(f"none of {len(examples)} conversations has a label token{dropped}: {CAUSES}")
    share = masked / (masked + len(kept))
    if share > most:
        found = [
            name for name, example in zip(names, examples, strict=True) if not (example.dropped or example.label_tokens)
        ]
        raise SftdivError(
            f"{masked} of {masked + len(kept)} conversations ({share:.1%}) have no label token, such as {', '.join(found[:3])}; "
            f"data.max_masked_share={most} allows fewer: {CAUSES}"
        )


def _check_ids(ids: NDArray[np.int64], whose: str, vocabulary: int, entries: int) -> None:
    outside = ids[(ids < 0) | (ids >= vocabulary)]
    if len(outside):
        raise SftdivError(
            f"token {outside[0]} {whose} has no embedding: the tokenizer has {entries:,} entries, the model {vocabulary:,} rows; use the "
            "tokenizer that belongs to the model, without tokens added to it"
        )


def preview(
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Labelled],
    names: Sequence[str],
    count: int = 3,
    *,
    width: int = 600,
) -> str:
    """Some examples, evenly spread over all, as text in which ⟦ ⟧ enclose what is trained on; special tokens are shown.

    Args:
        tokenizer: The one that made them.
        examples: What is trained on.
        names: What each is called.
        count: Examples to show.
        width: Characters of a stretch that is learned, or is not, that are shown; the middle of a
            longer one is left out.
    """
    chosen = np.unique(np.linspace(0, len(examples) - 1, min(count, len(examples))).round().astype(int))
    return "\n".join(_shown(tokenizer, examples[position], names[position], width) for position in chosen)


def _shown(tokenizer: PreTrainedTokenizerBase, example: Labelled, name: str, width: int) -> str:
    learned = example.labels != IGNORED
    learned[:1] = False  # nothing stands before the first token, from which it could be learned
    pieces, end, before = [], 0, ""
    for is_learned, run in groupby(learned.tolist()):
        end += len(list(run))
        text = _decoded(tokenizer, example.input_ids[:end].tolist())
        piece = _middle_out(
            text[len(before) :], width
        )  # decoded with what stands before: alone it would lose a space at its start
        pieces.append(f"⟦{piece}⟧" if is_learned else piece)
        before = text
    facts = f"{len(example)} tokens, {example.label_tokens} of them learned{', truncated' if example.truncated else ''}"
    return f"--- {name}: {facts} ---\n{''.join(pieces)}\n"


def _decoded(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))


def _middle_out(text: str, width: int) -> str:
    left_out = len(text) - width
    half = width // 2
    return text if left_out <= 0 else f"{text[:half]} […{left_out:,} characters…] {text[len(text) - half :]}"
