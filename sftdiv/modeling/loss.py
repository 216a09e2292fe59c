"""Loss of a padded batch per label token, in nats.

Logits are computed only at label tokens, which on a CPU with 16,384 entries saves most of the time.
Padding is on the right, where no earlier token of a causal model attends to it, so that no attention
mask is needed. Packed sequences are marked by their position ids, from which `transformers` makes a
mask that separates the examples.
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
    """Token ids and labels of some examples, each of shape (examples, longest), padded on the right."""
    input_ids = [torch.from_numpy(example.input_ids) for example in examples]
    labels = [torch.from_numpy(example.labels) for example in examples]
    return (
        pad_sequence(input_ids, batch_first=True, padding_value=pad_id),
        pad_sequence(labels, batch_first=True, padding_value=IGNORED),
    )


def token_losses(
    model: PreTrainedModel, input_ids: Tensor, labels: Tensor, position_ids: Tensor | None = None
) -> Tensor:
    """Negative log-likelihood of every label token after the first position, row by row, at least float32.

    Args:
        model: Any causal model of `transformers`.
        input_ids: Token ids, shape (rows, tokens).
        labels: Labels, shape (rows, tokens), ``IGNORED`` for tokens outside the loss.
        position_ids: Positions, shape (rows, tokens), which restart at 0 with every packed example;
            None if every row is one example.

    Returns:
        Losses, shape (label tokens,).
    """
    targets = labels[:, 1:]
    is_label = targets != IGNORED
    predicts_label = functional.pad(is_label, (0, 1))  # position t predicts the token at t + 1
    packing = {} if position_ids is None else {"position_ids": position_ids}
    logits = _logits(model, predicts_label, input_ids=input_ids, use_cache=False, **packing)
    logits = logits if logits.dtype == torch.float64 else logits.float()
    return functional.cross_entropy(logits, targets[is_label], reduction="none")


def _logits(model: PreTrainedModel, mask: Tensor, **inputs: Any) -> Tensor:
    """Logits at the positions of a mask of shape (rows, tokens), shape (positions, vocabulary)."""
    from transformers import modeling_utils

    if hasattr(modeling_utils, "slice_logits_to_keep"):  # transformers 5.23; 5.17 accepts no mask
        return model(logits_to_keep=mask, **inputs).logits
    hook = model.get_output_embeddings().register_forward_pre_hook(lambda head, hidden: (hidden[0][mask],))
    try:
        return model(**inputs).logits
    finally:
        hook.remove()
