"""Bytes of a model's weights, and the peak memory of a training step, from tensors that have a shape and no content.

The step is the code of `transformers`, `peft` and autograd itself under torch's fake tensors, so
that every architecture, precision, adapter and checkpointing is counted as it is. The usual formula
(Korthikanti et al. 2022, arXiv 2205.05198, equation 2 without its attention term: 34 bytes x tokens
x width x layers) gives 34 GiB where a 7B Llama in bf16 keeps 48 at 4 x 2,048 tokens. The trade-off:
it takes a second or two, and GPU-only kernels (flash attention, Liger, torch.compile) are counted
as torch's plain ones, which take as much memory or more.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sftdiv.training.config import AdapterConfig, FineTuningConfig
from sftdiv.training.distributed.shard import decoder_layers
from sftdiv.training.resources.meta_model import (
    UNMASKED_SDPA,
    build_meta_model,
    enable_checkpointing,
    fake_tensors,
    linear_weights,
    move_to_fake,
)

if TYPE_CHECKING:
    from transformers import PretrainedConfig

DTYPES = {
    "32-true": torch.float32,
    "64-true": torch.float64,
    "bf16-mixed": torch.float32,
    "16-mixed": torch.float32,
    "bf16-true": torch.bfloat16,
}
DEPTHS = (2, 4)  # layers that are run of a deeper model; each further layer takes the same
# Bytes per 4-bit weight: each 64 share a scale of 8 bits, of which 256 share one of 32 (arXiv 2305.14314)
NF4_BYTES = 0.5 + (1 + 4 / 256) / 64


@dataclass(frozen=True)
class MicroBatchShape:
    """Shape of a micro-batch.

    Attributes:
        rows: Conversations, or packed sequences.
        length: Tokens per row.
        labels: Label tokens per row; logits are computed at these only.
    """

    rows: int
    length: int
    labels: int


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Bytes of a model's parameters.

    Attributes:
        frozen: Bytes of the frozen parameters.
        trained: Bytes of the trained parameters.
        trained_count: Number of trained parameters.
        largest_layer: Bytes of the largest transformer layer.
        largest_layer_trained: Trained bytes of the layer with most of them.
        outside: Bytes outside of the layers: embeddings, head, last norm.
        outside_trained: Trained bytes outside of the layers.
    """

    frozen: float
    trained: float
    trained_count: int
    largest_layer: float
    largest_layer_trained: float
    outside: float
    outside_trained: float


def weigh(config: PretrainedConfig, *, dtype: torch.dtype, adapter: AdapterConfig | None) -> Weights:
    """Bytes of the parameters of a model as it is trained.

    Args:
        config: Model config.
        dtype: Type of the weights.
        adapter: Low-rank adapters; None trains all weights.
    """
    model = build_meta_model(config, dtype, adapter=adapter)
    layers = [list(layer.parameters()) for layer in decoder_layers(model)]
    inside = {id(parameter) for layer in layers for parameter in layer}
    outside = [parameter for parameter in model.parameters() if id(parameter) not in inside]
    quantized = adapter is not None and adapter.quantize is not None
    four_bit = {id(weight) for weight in linear_weights(model)} if quantized else set()

    def size(parameters: Iterable[Tensor], *, trained: bool | None = None) -> float:
        chosen = [parameter for parameter in parameters if trained is None or parameter.requires_grad is trained]
        return sum(
            tensor.numel() * (NF4_BYTES if id(tensor) in four_bit else tensor.element_size()) for tensor in chosen
        )

    return Weights(
        frozen=size(model.parameters(), trained=False),
        trained=size(model.parameters(), trained=True),
        trained_count=sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
        largest_layer=max(size(layer) for layer in layers),
        largest_layer_trained=max(size(layer, trained=True) for layer in layers),
        outside=size(outside),
        outside_trained=size(outside, trained=True),
    )


def peak_activations(
    config: PretrainedConfig,
    shape: MicroBatchShape,
    *,
    dtype: torch.dtype,
    autocast: bool,
    fine_tuning: FineTuningConfig,
) -> float:
    """Peak bytes of a micro-batch beside weights and gradients: saved activations, logits, casts and temporaries.

    Args:
        config: Model config.
        shape: Shape of the micro-batch.
        dtype: Type of the weights.
        autocast: Whether operations are cast to 16 bits, which keeps a copy of each trained weight.
        fine_tuning: Adapter, gradient checkpointing and attention; only ``eager`` attention keeps its matrix.
    """
    depth = int(config.get_text_config().num_hidden_layers)
    depths = DEPTHS if depth > DEPTHS[1] else (depth,)
    attention = "eager" if fine_tuning.attention == "eager" else UNMASKED_SDPA
    peaks = []
    for layers in depths:
        model = build_meta_model(config, dtype, adapter=fine_tuning.adapter, attention=attention, layers=layers)
        if fine_tuning.gradient_checkpointing:
            enable_checkpointing(model)
        with fake_tensors():
            move_to_fake(model)
            peaks.append(_peak_bytes(model, partial(_loss, model, shape), autocast=autocast))
    per_layer = (peaks[-1] - peaks[0]) / max(1, depths[-1] - depths[0])
    return peaks[-1] + per_layer * (depth - depths[-1])


class _StorageMeter(TorchDispatchMode):
    """Counts the bytes of the storages that operations create, for as long as anything refers to them."""

    def __init__(self, ignored: Iterable[Tensor]) -> None:
        super().__init__()
        self.bytes, self.peak = 0, 0
        self.sizes = {tensor.untyped_storage()._cdata: 0 for tensor in ignored}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        outputs = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(outputs):
            if isinstance(tensor, Tensor):
                self._add(tensor.untyped_storage())
        return outputs

    def _add(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self.sizes:
            self.sizes[key] = storage.nbytes()
            self.bytes += self.sizes[key]
            self.peak = max(self.peak, self.bytes)
            weakref.finalize(storage, self._release, key)

    def _release(self, key: int) -> None:
        self.bytes -= self.sizes.pop(key)


def _peak_bytes(model: nn.Module, loss: Callable[[], Tensor], *, autocast: bool) -> float:
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.empty_like(parameter)  # of earlier micro-batches, to which this one adds
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    meter = _StorageMeter([*model.parameters(), *model.buffers(), *gradients])
    with meter, torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        loss().backward()  # within autocast, as Lightning runs a manually optimized module
    return float(meter.peak)


def _loss(model: nn.Module, shape: MicroBatchShape) -> Tensor:
    """`sftdiv.modeling.loss.token_losses` with the labels at the end of each row, since a fake mask has no content."""
    input_ids = torch.zeros(shape.rows, shape.length, dtype=torch.long)
    targets = torch.zeros(shape.rows * shape.labels, dtype=torch.long)
    logits = model(input_ids=input_ids, logits_to_keep=shape.labels, use_cache=False).logits.flatten(0, 1)
    logits = logits if logits.dtype == torch.float64 else logits.float()
    return functional.cross_entropy(logits, targets, reduction="none").sum()
