"""Checks that packed examples do not attend to each other.

Attention separates examples by their position ids. A model that carries a state from token to token
(Mamba), or takes no position ids, does not separate them and would learn from one example how the
next begins. The check runs two examples through the model before the first step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from sftdiv.modeling.chat_labels import IGNORED
from sftdiv.modeling.loss import token_losses
from sftdiv.records import SftdivError
from sftdiv.training.batching.batches import Batch, StepDataset
from sftdiv.training.batching.conversations import NamedExamples

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TOLERANCE = 1e-6  # nats: masked tokens have no weight, so that the same kernels give the same numbers


def check_packing(model: PreTrainedModel, examples: NamedExamples, *, pad_id: int) -> None:
    """Reject a model in which the second example of a packed sequence depends on the first.

    Args:
        model: Model with all of its weights.
        examples: Training examples; the two shortest are used.
        pad_id: Token that replaces those of the first example.

    Raises:
        SftdivError: The loss changes with the tokens of the first example.
    """
    lengths = np.array([len(example) for example in examples.examples])
    pair = np.argsort(lengths, kind="stable")[:2]
    if len(pair) < 2:
        return
    capacity = int(lengths[pair].sum())
    steps = StepDataset(examples.examples, examples.names, [pair], pad_id=pad_id, micro_batch=1, capacity=capacity)
    batch = steps[0].batches[0]
    first = batch.lengths[0][0]
    batch.labels[:, :first] = IGNORED
    losses = _losses(model, batch)
    batch.input_ids[:, :first] = pad_id
    difference = (_losses(model, batch) - losses).abs().max().item()
    if not difference <= TOLERANCE:
        raise SftdivError(
            f"data.packing=true: in {type(model).__name__} a packed example sees the one before it (other tokens there "
            f"change its loss by {difference:.3g} nats); use data.packing=false, which batches by similar length"
        )


def _losses(model: PreTrainedModel, batch: Batch) -> Tensor:
    training, attention = model.training, model.config._attn_implementation
    model.eval()
    if attention != "eager":  # flash attention needs a GPU, where the model need not be yet, and 16 bits
        model.set_attn_implementation("sdpa")
    assert batch.position_ids is not None
    inputs = (batch.input_ids.clone(), batch.labels.clone(), batch.position_ids)
    try:
        with torch.no_grad(), torch.compiler.set_stance("force_eager"):  # nothing is compiled for two passes
            return token_losses(model, *(tensor.to(model.device) for tensor in inputs)).float()
    except TypeError as error:
        raise SftdivError(
            f"data.packing=true needs a model that takes position ids, and {type(model).__name__} does not"
        ) from error
    finally:
        model.train(training)
        if model.config._attn_implementation != attention:
            model.set_attn_implementation(attention)
