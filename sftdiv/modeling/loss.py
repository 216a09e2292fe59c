"""The loss of a padded batch, token by token.

In: a model, token ids and labels. Out: one number for each label token, in nats. Logits are
computed only where a label is, which on a CPU with 16,384 entries saves most of the time. Padding
stands on the right, where a causal model's earlier tokens never see it, so that no attention mask
is needed. Packed rows are told by their position ids, from which `transformers` makes a mask that
keeps each example to itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from sftdiv.modeling.chat_labels import IGNORED, Labelled

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def pad_batch(examples: Sequence[Labelled], pad_id: int) -> tuple[Tensor, Tensor]:
    """Token ids and labels of some examples, each (examples, longest), padded on the right."""
    input_ids = pad_sequence(
        [torch.from_numpy(example.input_ids) for example in examples], batch_first=True, padding_value=pad_id
    )
    labels = pad_sequence(
        [torch.from_numpy(example.labels) for example in examples], batch_first=True, padding_value=IGNORED
    )
    return input_ids, labels


def token_losses(
    model: PreTrainedModel, input_ids: Tensor, labels: Tensor, position_ids: Tensor | None = None
) -> Tensor:
    """Negative log-likelihood of every label token after the first position, row by row, shape (label tokens,), at least float32.

    Args:
        model: Any `transformers` causal model.
        input_ids: (rows, tokens).
        labels: (rows, tokens), ``IGNORED`` where nothing is learned.
        position_ids: (rows, tokens), from 0 anew for every example that is packed into a row; None
            where a row is one example.
    """
    targets = labels[:, 1:]
    learned = targets != IGNORED
    before = functional.pad(learned, (0, 1))  # position t predicts the token at t + 1
    packed = {} if position_ids is None else {"position_ids": position_ids}
    logits = _logits(model, before, input_ids=input_ids, use_cache=False, **packed)
    logits = logits if logits.dtype == torch.float64 else logits.float()
    return functional.cross_entropy(logits, targets[learned], reduction="none")


def _logits(model: PreTrainedModel, where: Tensor, **inputs: Any) -> Tensor:
    """The logits of the positions ``where`` a mask of shape (rows, tokens) is true, shape (positions, vocabulary)."""
    from transformers import modeling_utils

    if hasattr(modeling_utils, "slice_logits_to_keep"):  # transformers 5.23; 5.17 knows no mask
        return model(logits_to_keep=where, **inputs).logits
    chosen = model.get_output_embeddings().register_forward_pre_hook(lambda head, hidden: (hidden[0][where],))
    try:
        return model(**inputs).logits
    finally:
        chosen.remove()
