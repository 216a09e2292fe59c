"""Floating-point operations of a training step, and the peak FLOP/s of a device, whose quotient is the MFU.

Input is a model as it is trained and the lengths of a step's conversations. Counted is the work
that must be done, not what is computed: no padding, no second forward pass of gradient
checkpointing, attention to earlier tokens only, and the head only at label tokens. Sources: Kaplan
et al. 2020 (arXiv 2001.08361, table 1), Chowdhery et al. 2022 (PaLM, arXiv 2204.02311, appendix B).
The trade-off: everything but matrix products (norms, softmax, optimizer) is left out, as is usual,
although small models spend time on it.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

COMPUTE_DTYPES = {
    "32-true": torch.float32,
    "64-true": torch.float64,
    "bf16-mixed": torch.bfloat16,
    "bf16-true": torch.bfloat16,
    "16-mixed": torch.float16,
}
DENSE_PEAK_16_BIT = {  # FLOP/s without sparsity, from NVIDIA's data sheets
    "NVIDIA H200": 989.4e12,
    "NVIDIA H200 NVL": 835.5e12,
    "NVIDIA GH200 480GB": 989.4e12,
}
MEASUREMENTS = 2  # of the peak, at the start of a training and at its end
_best_measured: dict[tuple[str, torch.dtype, int], float] = {}


@dataclass(frozen=True, kw_only=True)
class ModelFlops:
    """Floating-point operations of the forward and backward pass.

    Attributes:
        per_token: Operations per token.
        per_label: Additional operations per label token (the head).
        per_pair: Operations per (query, key) pair, over all layers with full attention.
        per_window_pair: The same over all layers with sliding-window attention.
        window: Length of the sliding window in tokens.
    """

    per_token: float
    per_label: float
    per_pair: float
    per_window_pair: float = 0.0
    window: int = 0

    def of_step(self, lengths: NDArray[np.int64], label_tokens: int) -> float:
        """Operations of one optimizer step.

        Args:
            lengths: Tokens of each conversation, shape (conversations,), without padding.
            label_tokens: Label tokens of all conversations.
        """
        sizes = np.asarray(lengths, dtype=np.float64)
        total = self.per_token * sizes.sum() + self.per_label * label_tokens
        total += self.per_pair * attention_pairs(sizes)
        if self.per_window_pair:
            outside = attention_pairs(np.maximum(sizes - self.window, 0))
            total += self.per_window_pair * (attention_pairs(sizes) - outside)
        return float(total)


def attention_pairs(lengths: NDArray[np.float64]) -> float:
    """Number of (query, key) pairs under a causal mask, over sequences of the given lengths."""
    return float((lengths * (lengths + 1) / 2).sum())


def model_flops(model: PreTrainedModel) -> ModelFlops:
    """Cost of a model as it is trained, adapters included; on any device, also meta.

    A weight takes two operations per token in the forward pass and, in the backward pass, two for
    the gradient of its input and, if it is trained, two for its own. Three-dimensional weights are
    the experts of a mixture, of which a token passes through a few.

    Args:
        model: Model with ``requires_grad`` set on the trained parameters.
    """
    config = model.config.get_text_config()
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    inner = (module for module in model.modules() if module is not embedding and module is not head)
    full, windowed = _attention_layers(config)
    per_layer_pair = 3 * 2 * 2 * _attention_width(config)  # scores and values; forward and twice backward
    return ModelFlops(
        per_token=float(sum(_module_flops(module, config) for module in inner)),
        per_label=float(_module_flops(head, config)),
        per_pair=full * per_layer_pair,
        per_window_pair=windowed * per_layer_pair,
        window=int(getattr(config, "sliding_window", None) or 0),
    )


def _module_flops(module: nn.Module, config: PretrainedConfig) -> float:
    """Operations per token of a module's own weights, without those of its children."""
    if isinstance(module, nn.Embedding):
        return 0.0
    if isinstance(module, nn.Linear):  # from its shape, since a 4-bit weight is stored in another one
        return float(module.in_features * module.out_features * (6 if module.weight.requires_grad else 4))
    total = 0.0
    for weight in module.parameters(recurse=False):
        if weight.ndim in (2, 3):  # 2: GPT-2's Conv1D, routers
            active = config.num_experts_per_tok / weight.shape[0] if weight.ndim == 3 else 1.0
            total += weight.numel() * active * (6 if weight.requires_grad else 4)
    return total


def _attention_layers(config: PretrainedConfig) -> tuple[int, int]:
    """Number of layers with full attention, and with sliding-window attention."""
    depth = int(config.num_hidden_layers)
    kinds = getattr(config, "layer_types", None)
    if kinds:
        windowed = sum(kind == "sliding_attention" for kind in kinds)
        return sum(kind == "full_attention" for kind in kinds), windowed
    return (0, depth) if getattr(config, "sliding_window", None) else (depth, 0)


def _attention_width(config: PretrainedConfig) -> int:
    """Width of all attention heads together."""
    heads = int(config.num_attention_heads)
    return heads * int(getattr(config, "head_dim", None) or config.hidden_size // heads)


def peak_flops(device: str, precision: str, *, again: bool = False) -> float:
    """Peak FLOP/s of dense matrix products on a device: from the vendor's data sheet, else the best measured so far.

    Args:
        device: Torch's name of the device, ``cpu`` or ``cuda``.
        precision: Lightning's name of the resolved precision.
        again: Whether to measure once more, since whoever else used the device made an earlier
            measurement too small.
    """
    dtype = COMPUTE_DTYPES[precision]
    listed = _listed_peak(torch.device(device), dtype) if device == "cuda" else None
    if listed is not None:
        return listed
    setting = (device, dtype, torch.get_num_threads() if device == "cpu" else 0)
    if again or setting not in _best_measured:
        measured = max(_measured_peak(torch.device(device), dtype) for _ in range(MEASUREMENTS))
        _best_measured[setting] = max(measured, _best_measured.get(setting, 0.0))
    return _best_measured[setting]


def _listed_peak(device: torch.device, dtype: torch.dtype) -> float | None:
    from lightning_fabric.utilities.throughput import get_available_flops

    name = torch.cuda.get_device_name(device)
    if name in DENSE_PEAK_16_BIT and dtype in (torch.bfloat16, torch.float16):
        return DENSE_PEAK_16_BIT[name]  # Lightning's table has the sparse peak, and no name that an H200 reports
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return get_available_flops(device, dtype)


def _measured_peak(device: torch.device, dtype: torch.dtype, *, seconds: float = 0.05) -> float:
    """FLOP/s of the fastest of repeated products of two square matrices."""
    size = 4096 if device.type == "cuda" else 1024
    left, right = (torch.ones(size, size, dtype=dtype, device=device) for _ in range(2))
    synchronize: Callable[[], Any] = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    fastest, deadline = float("inf"), time.perf_counter() + seconds
    for warmed_up in (False, *[True] * 1000):
        synchronize()
        start = time.perf_counter()
        torch.mm(left, right)
        synchronize()
        fastest = min(fastest, time.perf_counter() - start) if warmed_up else fastest
        if warmed_up and time.perf_counter() > deadline:
            break
    return 2 * size**3 / fastest
