"""The arithmetic that a training has to do, and what a device can do of it: their quotient over time is the MFU.

In: a model as it is trained, and the lengths of a step's conversations. Out: floating-point
operations. Counted is the work that must be done and not what is computed: no padding, no second
forward pass of gradient checkpointing, attention to earlier tokens only, and the head only where a
label is. Sources: Kaplan et al. 2020 (arXiv 2001.08361, table 1), Chowdhery et al. 2022 (PaLM,
arXiv 2204.02311, appendix B). The trade: what is no matrix product (norms, softmax, optimizer) is
left out, as is usual, though small models spend time on it.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

ARITHMETIC = {
    "32-true": torch.float32,
    "64-true": torch.float64,
    "bf16-mixed": torch.bfloat16,
    "bf16-true": torch.bfloat16,
    "16-mixed": torch.float16,
}
DENSE = {
    "NVIDIA H200": 989.4e12,
    "NVIDIA H200 NVL": 835.5e12,
    "NVIDIA GH200 480GB": 989.4e12,
}  # in 16 bits, by NVIDIA's data sheets


@dataclass(frozen=True, kw_only=True)
class Work:
    """Floating-point operations of forward and backward pass.

    Of a ``token``; of its ``label`` beside it; and of a ``pair`` of tokens of which one attends to
    the other, in all layers that attend to everything before (``pair``) and in those that see the
    last tokens of a ``window`` (``window_pair``).
    """

    token: float
    label: float
    pair: float
    window_pair: float = 0.0
    window: int = 0

    def of_step(self, lengths: NDArray[np.int64], label_tokens: int) -> float:
        """Operations of one optimizer step.

        Args:
            lengths: Tokens of each conversation, shape (conversations,), padding not counted,
                however they are packed.
            label_tokens: Tokens that are learned, of all of them.
        """
        sizes = np.asarray(lengths, dtype=np.float64)
        total = self.token * sizes.sum() + self.label * label_tokens + self.pair * pairs(sizes)
        if self.window_pair:
            total += self.window_pair * (pairs(sizes) - pairs(np.maximum(sizes - self.window, 0)))
        return float(total)


def pairs(lengths: NDArray[np.float64]) -> float:
    """Of a token and itself or one before it, in the same conversation."""
    return float((lengths * (lengths + 1) / 2).sum())


def work_of(model: PreTrainedModel) -> Work:
    """What a model as it is trained costs: with adapters in it, and with ``requires_grad`` set; on any device, also meta.

    A weight takes two operations a token in the forward pass and, in the backward pass, two for the
    gradient of its input and, where it is trained, two for its own. Weights of three dimensions are
    those of a mixture's experts, of which a token passes a few.
    """
    config = model.config.get_text_config()
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    layers = sum(
        _operations(module, config) for module in model.modules() if module is not embedding and module is not head
    )
    full, windowed = _layers(config)
    a_pair = 3 * 2 * 2 * _heads_width(config)  # score and value, forward and twice backward
    window = int(getattr(config, "sliding_window", None) or 0)
    return Work(
        token=float(layers),
        label=float(_operations(head, config)),
        pair=full * a_pair,
        window_pair=windowed * a_pair,
        window=window,
    )


def _operations(module: nn.Module, config: PretrainedConfig) -> float:
    """Of the weights that a module itself holds, a token."""
    if isinstance(module, nn.Embedding):
        return 0.0
    if isinstance(module, nn.Linear):  # by its shape, for a weight in 4 bits lies otherwise
        return float(module.in_features * module.out_features * (6 if module.weight.requires_grad else 4))
    total = 0.0
    for weight in module.parameters(recurse=False):
        if weight.ndim in (2, 3):  # 2: GPT-2's Conv1D, routers
            active = config.num_experts_per_tok / weight.shape[0] if weight.ndim == 3 else 1.0
            total += weight.numel() * active * (6 if weight.requires_grad else 4)
    return total


def _layers(config: PretrainedConfig) -> tuple[int, int]:
    """How many layers attend to all before, and how many to a window."""
    depth = int(config.num_hidden_layers)
    kinds = getattr(config, "layer_types", None)
    if kinds:
        windowed = sum(kind == "sliding_attention" for kind in kinds)
        return sum(kind == "full_attention" for kind in kinds), windowed
    return (0, depth) if getattr(config, "sliding_window", None) else (depth, 0)


def _heads_width(config: PretrainedConfig) -> int:
    heads = int(config.num_attention_heads)
    return heads * int(getattr(config, "head_dim", None) or config.hidden_size // heads)


def peak_flops(device: str, precision: str) -> float:
    """Operations a second of dense matrix products that a device can do: by its maker's data sheet, else as measured here.

    Args:
        device: ``cpu`` or ``cuda``, as torch names it.
        precision: Lightning's name of the precision, resolved.
    """
    return _peak_flops(device, ARITHMETIC[precision], torch.get_num_threads() if device == "cpu" else 0)


@cache
def _peak_flops(device: str, dtype: torch.dtype, threads: int) -> float:
    listed = _listed(torch.device(device), dtype) if device == "cuda" else None
    return listed if listed is not None else _measured(torch.device(device), dtype)


def _listed(device: torch.device, dtype: torch.dtype) -> float | None:
    from lightning_fabric.utilities.throughput import get_available_flops

    name = torch.cuda.get_device_name(device)
    if name in DENSE and dtype in (torch.bfloat16, torch.float16):
        return DENSE[name]  # Lightning's table has them with sparsity, and under names that no H200 bears
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return get_available_flops(device, dtype)


def _measured(device: torch.device, dtype: torch.dtype, *, seconds: float = 0.1) -> float:
    """The best of repeated products of two square matrices."""
    size = 4096 if device.type == "cuda" else 1024
    one, other = (torch.ones(size, size, dtype=dtype, device=device) for _ in range(2))
    wait: Callable[[], Any] = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    best, until = float("inf"), time.perf_counter() + seconds
    for warm in (False, *[True] * 1000):
        wait()
        start = time.perf_counter()
        torch.mm(one, other)
        wait()
        best = min(best, time.perf_counter() - start) if warm else best
        if warm and time.perf_counter() > until:
            break
    return 2 * size**3 / best
