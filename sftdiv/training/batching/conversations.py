"""Tokenizes, labels, validates and splits the conversations of a training.

Input is messages and a tokenizer. Output is labelled training and validation examples with their
names, and the number of rejected ones by reason. Splits are by group, so that no instruction is
both trained on and validated on.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sftdiv.modeling.chat_labels import Labelled, Messages, end_token, label_conversations
from sftdiv.records import SftdivError
from sftdiv.training.batching.example_checks import CheckedExamples, check_examples
from sftdiv.training.batching.spelled_tokens import describe_spelled, spelled_tokens
from sftdiv.training.config import DataConfig

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NamedExamples:
    """Labelled examples and their names, for errors."""

    examples: Sequence[Labelled]
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.examples)

    def take(self, rows: NDArray[np.int64]) -> NamedExamples:
        """The examples at some indices."""
        return NamedExamples([self.examples[row] for row in rows], [self.names[row] for row in rows])


@dataclass(frozen=True)
class TokenizedConversations:
    """Training examples, validation examples, and the counts of the checks."""

    train: NamedExamples
    validation: NamedExamples
    checked: CheckedExamples


def tokenize_conversations(
    tokenizer: PreTrainedTokenizerBase,
    conversations: Sequence[Messages],
    names: Sequence[str],
    groups: Sequence[str],
    *,
    data: DataConfig,
    vocabulary: int,
    seed: int,
) -> TokenizedConversations:
    """Tokenize, label, check and split conversations.

    Args:
        tokenizer: Tokenizer with a chat template.
        conversations: Messages of each conversation.
        names: Names of the conversations.
        groups: Groups of the conversations; a group is trained on or validated on as a whole.
        data: Tokenization settings.
        vocabulary: Rows of the model's embedding.
        seed: Seed of the validation split.

    Raises:
        SftdivError: As `check_examples` does, or no conversation is left to train on.
    """
    if spelled := spelled_tokens(tokenizer, conversations):
        log.warning(describe_spelled(spelled, len(conversations)))
    labelled = label_conversations(
        tokenizer,
        conversations,
        max_length=data.max_length,
        loss_on=data.loss_on,
        loss_turns=data.loss_turns,
        too_long=data.too_long,
    )
    checked = check_examples(
        labelled,
        names,
        vocabulary=vocabulary,
        entries=len(tokenizer),
        end_ids={end_token(tokenizer)},
        pad_id=int(tokenizer.pad_token_id),
        max_masked_share=data.max_masked_share,
    )
    validates = _validation_mask(np.array([groups[i] for i in checked.valid], dtype=object), data.validation, seed=seed)
    if validates.all():
        raise SftdivError(
            f"data.validation={data.validation} leaves none of {len(validates)} conversations for training"
        )
    examples, valid = NamedExamples(labelled, names), np.array(checked.valid)
    return TokenizedConversations(examples.take(valid[~validates]), examples.take(valid[validates]), checked)


def _validation_mask(groups: NDArray[np.object_], share: float, *, seed: int) -> NDArray[np.bool_]:
    """Conversations held out for validation: whole groups, drawn until they reach the share; none if it is 0."""
    if not share:
        return np.zeros(len(groups), dtype=bool)
    distinct, group_of, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.random.default_rng([seed, 1]).permutation(len(distinct))
    drawn_before = np.cumsum(sizes[order]) - sizes[order]
    chosen = np.zeros(len(distinct), dtype=bool)
    chosen[order] = drawn_before < share * len(groups)
    return chosen[group_of]
