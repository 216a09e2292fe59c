"""The conversations of a training, tokenized, labelled, guarded and split into those that are trained on and those that validate.

In: messages and a tokenizer. Out: labelled examples with their names, and how many were left out
for which reason. Splits go by group, so that an instruction that is trained on is never validated
on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sftdiv.modeling.chat_labels import Labelled, Messages, end_token, label_conversations
from sftdiv.records import SftdivError
from sftdiv.training.batching.example_checks import Checked, check_examples
from sftdiv.training.config import DataConfig

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Named:
    """Examples and what errors call them."""

    examples: Sequence[Labelled]
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.examples)


@dataclass(frozen=True)
class Conversations:
    """What is trained on, what validates, and how many were left out, and why."""

    train: Named
    held: Named
    checked: Checked


def read_conversations(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[Messages],
    names: Sequence[str],
    groups: Sequence[str],
    *,
    reading: DataConfig,
    vocabulary: int,
    seed: int,
) -> Conversations:
    """Tokenize, label, check and split conversations.

    Args:
        tokenizer: With a chat template.
        messages: The conversations.
        names: Of each.
        groups: Of each; a group is validated on or trained on as a whole.
        reading: How they are read.
        vocabulary: Rows of the model's embedding.
        seed: Decides which groups validate.

    Raises:
        SftdivError: As `check_examples` does, or nothing is left to train on.
    """
    labelled = label_conversations(
        tokenizer,
        messages,
        max_length=reading.max_length,
        loss_on=reading.loss_on,
        loss_turns=reading.loss_turns,
        too_long=reading.too_long,
    )
    checked = check_examples(
        labelled,
        names,
        vocabulary=vocabulary,
        entries=len(tokenizer),
        end_ids={end_token(tokenizer)},
        pad_id=int(tokenizer.pad_token_id),  # type: ignore[arg-type]  # load_tokenizer has seen to it
        max_masked_share=reading.max_masked_share,
    )
    held = _held(np.array([groups[i] for i in checked.kept], dtype=object), reading.validation, seed=seed)
    parts = [[i for i, out in zip(checked.kept, held, strict=True) if out == wanted] for wanted in (False, True)]
    train, validation = (Named([labelled[i] for i in part], [names[i] for i in part]) for part in parts)
    if not train:
        raise SftdivError(f"data.validation={reading.validation} leaves none of {len(held)} conversations to train on")
    return Conversations(train, validation, checked)


def _held(groups: NDArray[np.object_], share: float, *, seed: int) -> NDArray[np.bool_]:
    """Which conversations validate: whole groups, drawn until they hold the share, at least one where the share is above 0."""
    if not share:
        return np.zeros(len(groups), dtype=bool)
    named, member, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.random.default_rng([seed, 1]).permutation(len(named))
    before = np.cumsum(sizes[order]) - sizes[order]
    chosen = np.zeros(len(named), dtype=bool)
    chosen[order] = before < share * len(groups)
    return chosen[member]
