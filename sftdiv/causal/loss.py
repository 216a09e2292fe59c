"""The loss of a padded batch, token by token.

In: a model, token ids and labels. Out: one number for each label token, in nats. Logits are computed only where a label is, which on a CPU
with 16,384 entries saves most of the time. Padding stands on the right, where a causal model's earlier tokens never see it, so that no
attention mask is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from sftdiv.causal.labels import IGNORED, Labelled

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def pad_batch(examples: Sequence[Labelled], pad_id: int) -> tuple[Tensor, Tensor]:
    """Token ids and labels of some examples, each (examples, longest), padded on the right."""
    input_ids = pad_sequence([torch.from_numpy(example.input_ids) for example in examples], batch_first=True, padding_value=pad_id)
    labels = pad_sequence([torch.from_numpy(example.labels) for example in examples], batch_first=True, padding_value=IGNORED)
    return input_ids, labels


def token_losses(model: PreTrainedModel, input_ids: Tensor, labels: Tensor) -> Tensor:
    """Negative log-likelihood of every label token after the first position, row by row, shape (label tokens,), float32.

    Args:
        model: Any `transformers` causal model whose ``logits_to_keep`` takes a mask (5.23: all that inherit the usual head).
        input_ids: (examples, tokens).
        labels: (examples, tokens), ``IGNORED`` where nothing is learned.
    """
    targets = labels[:, 1:]
    learned = targets != IGNORED
    before = functional.pad(learned, (0, 1))  # position t predicts the token at t + 1
    logits = model(input_ids=input_ids, logits_to_keep=before, use_cache=False).logits
    return functional.cross_entropy(logits.float(), targets[learned], reduction="none")
