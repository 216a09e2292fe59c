"""Whether packed examples see only themselves in a model, tried on two of them before the first step.

In: a model and some examples. Out: nothing, or a refusal. Attention keeps examples apart by their
position ids; a model that carries a state from token to token (Mamba), or that takes no position
ids, does not, and would learn from one example's end how the next begins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from sftdiv.modeling.chat_labels import IGNORED
from sftdiv.modeling.loss import token_losses
from sftdiv.records import SftdivError
from sftdiv.training.batching.batches import Batch, Steps
from sftdiv.training.batching.conversations import Named

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TOLERANCE = 1e-6  # nats: what is masked has no weight at all, so that the same kernels give the same numbers


def check_confined(model: PreTrainedModel, examples: Named, *, pad_id: int) -> None:
    """Refuse a model in which the second example of a packed row knows what the first one says.

    Args:
        model: With all of its weights.
        examples: What is trained on; the two shortest are tried.
        pad_id: Of a token that stands in the place of the first one's.

    Raises:
        SftdivError: Its loss is another when the first example has other tokens.
    """
    lengths = np.array([len(example) for example in examples.examples])
    pair = np.argsort(lengths, kind="stable")[:2]
    if len(pair) < 2:
        return
    steps = Steps(
        examples.examples, examples.names, [pair], pad_id=pad_id, micro_batch=1, capacity=int(lengths[pair].sum())
    )
    batch = steps[0].batches[0]
    first = batch.lengths[0][0]
    batch.labels[:, :first] = IGNORED
    told = _losses(model, batch)
    batch.input_ids[:, :first] = pad_id
    difference = (_losses(model, batch) - told).abs().max().item()
    if not difference <= TOLERANCE:
        raise SftdivError(
            f"data.packing=true: in {type(model).__name__} a packed example sees the one before it (another one changes its loss by "
            f"{difference:.3g} nats); use data.packing=false, which groups examples of like length"
        )


def _losses(model: PreTrainedModel, batch: Batch) -> Tensor:
    training, kind = model.training, model.config._attn_implementation
    model.eval()
    if (
        model.device.type == "cpu" and kind != "eager"
    ):  # flash attention runs on a GPU only, and this is before the model goes there
        model.set_attn_implementation("sdpa")
    assert batch.position_ids is not None
    inputs = (batch.input_ids.clone(), batch.labels.clone(), batch.position_ids)
    try:
        with torch.no_grad():
            return token_losses(model, *(each.to(model.device) for each in inputs)).float()
    except TypeError as error:
        raise SftdivError(
            f"data.packing=true needs a model that takes position ids, and {type(model).__name__} does not"
        ) from error
    finally:
        model.train(training)
        if model.config._attn_implementation != kind:
            model.set_attn_implementation(kind)
