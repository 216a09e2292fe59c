"""Merges low-rank adapters into the weights of their base, and checks that the merged model computes the same.

A weight that several modules share (tied embeddings, as in most models below a few billion parameters)
must not receive the update of one of them: the adapted modules first get a weight of their own. The
trade: a model whose tied embeddings were adapted is saved untied, larger by one embedding matrix.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sftdiv.modeling.checkpoint import peft_warnings_ignored
from sftdiv.records import SftdivError

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

PROBE_ROWS, PROBE_LENGTH = 2, 16
# Largest relative difference of the logits; adding the update rounds every weight to its type
TOLERANCES = {torch.float64: 1e-6, torch.float32: 1e-3}
TOLERANCE_16_BIT = 0.1


def merge_checked(adapted: PeftModel) -> PreTrainedModel:
    """Merge an adapter after untying the adapted modules, and compare the logits of a probe batch before and after.

    Args:
        adapted: Model with an adapter; its weights are changed in place.

    Returns:
        The merged model. Where adapted embeddings were tied, its config says that they no longer are.

    Raises:
        SftdivError: The logits differ by more than the rounding of the weights.
    """
    adapted.eval()
    before = _probe(adapted.get_base_model())
    untie_adapted(adapted)
    with peft_warnings_ignored():
        model: PreTrainedModel = adapted.merge_and_unload()
    after = _probe(model)
    difference = float((after - before).norm() / before.norm())
    tolerance = TOLERANCES.get(model.dtype, TOLERANCE_16_BIT)
    if not difference <= tolerance:  # NaN is a difference too
        raise SftdivError(
            f"merging the adapter changes the model: on {PROBE_ROWS * PROBE_LENGTH} probe tokens its logits differ by "
            f"{difference:.2g} of their size, more than the {tolerance:g} that rounding to {model.dtype} explains; "
            "save the adapter unmerged with train.adapter.merge=false, or leave modules out of train.adapter.targets"
        )
    return model


def untie_adapted(adapted: PeftModel) -> None:
    """Give every adapted module whose weight other modules share a copy of its own."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    model = adapted.get_base_model()
    holders = Counter(id(weight) for module in model.modules() for weight in module._parameters.values())
    untied = False
    for module in model.modules():
        if not isinstance(module, BaseTunerLayer):
            continue
        layer = module.get_base_layer()
        for name, weight in list(layer._parameters.items()):
            if weight is not None and holders[id(weight)] > 1:
                holders[id(weight)] -= 1
                setattr(layer, name, nn.Parameter(weight.detach().clone(), requires_grad=weight.requires_grad))
                untied = True
    if untied:
        for config in (model.config, model.config.get_text_config()):
            config.tie_word_embeddings = False


@torch.no_grad()
def _probe(model: PreTrainedModel) -> Tensor:
    """Logits of token ids spread over the vocabulary, shape (tokens, vocabulary), in float64 on the CPU."""
    device = model.get_input_embeddings().weight.device
    length = min(PROBE_LENGTH, getattr(model.config.get_text_config(), "max_position_embeddings", None) or PROBE_LENGTH)
    last_id = model.config.get_text_config().vocab_size - 1
    ids = torch.linspace(0, last_id, PROBE_ROWS * length).long().reshape(PROBE_ROWS, length).to(device)
    with _plain_forward(model):
        logits: Tensor = model(input_ids=ids, use_cache=False).logits
    return logits.double().cpu().flatten(0, 1)


@contextmanager
def _plain_forward(model: PreTrainedModel) -> Iterator[None]:
    """Compute without compilation and without attention kernels that need 16 bits or packed sequences."""
    implementation = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        with torch.compiler.set_stance("force_eager"):
            yield
    finally:
        model.set_attn_implementation(implementation)
