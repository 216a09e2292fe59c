"""A model as it is trained, without its weights: on the meta device, or as fake tensors on which a step can run."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sftdiv.training.adapters import add_adapter
from sftdiv.training.config import AdapterConfig

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

# sdpa under a name for which transformers builds no mask; from fake tensors it cannot see that none is needed
UNMASKED_SDPA = "sftdiv_unmasked"


def build_meta_model(
    config: PretrainedConfig,
    dtype: torch.dtype,
    *,
    adapter: AdapterConfig | None,
    attention: str = UNMASKED_SDPA,
    layers: int | None = None,
) -> nn.Module:
    """A model on the meta device, as it is trained.

    Args:
        config: Model config.
        dtype: Type of the weights.
        adapter: Low-rank adapters; None trains all weights.
        attention: Attention implementation of transformers.
        layers: Number of layers to keep; None for all.
    """
    from transformers import AttentionInterface, AutoModelForCausalLM
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    AttentionInterface.register(UNMASKED_SDPA, sdpa_attention_forward)
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft calls transformers by a deprecated name
        model: PreTrainedModel = AutoModelForCausalLM.from_config(
            config, dtype=dtype, attn_implementation=attention, trust_remote_code=False
        )
        model.train()
        if layers is not None:
            stack = max((module for module in model.modules() if isinstance(module, nn.ModuleList)), key=len)
            del stack[layers:]
        return model if adapter is None else _adapted(model, dtype, adapter)


def _adapted(model: PreTrainedModel, dtype: torch.dtype, adapter: AdapterConfig) -> nn.Module:
    if adapter.quantize is not None:
        linear = {id(weight) for weight in linear_weights(model)}
        for parameter in model.parameters():  # the types that `peft.prepare_model_for_kbit_training` leaves
            parameter.data = parameter.data.to(torch.bfloat16 if id(parameter) in linear else torch.float32)
    adapted = add_adapter(model, replace(adapter, quantize=None), seed=0)
    for parameter in adapted.parameters():  # off the meta device, adapters take the type of an unquantized base
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.float32 if adapter.quantize else dtype)
    return adapted


def linear_weights(model: nn.Module) -> list[Tensor]:
    """Weights that are stored in 4 bits: those of linear layers, except the head and adapters."""
    owner: Any = model
    head = owner.get_output_embeddings()
    return [
        module.weight
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module is not head and "lora_" not in name
    ]


def enable_checkpointing(model: nn.Module) -> None:
    """Turn gradient checkpointing on, by the name that the installed transformers has for it."""
    owner: Any = model
    inner = owner.get_base_model() if hasattr(model, "get_base_model") else owner
    settings = {"use_reentrant": False}
    if hasattr(inner, "activation_checkpointing_enable"):  # its name since transformers 5.23
        inner.activation_checkpointing_enable(activation_checkpointing_kwargs=settings)
    else:
        inner.gradient_checkpointing_enable(gradient_checkpointing_kwargs=settings)


@contextmanager
def fake_tensors() -> Iterator[None]:
    """Tensors created within have a shape, a type and a device, and no content."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    mode: Any = FakeTensorMode()
    with mode:
        yield


def move_to_fake(model: nn.Module) -> None:
    """Move a model from the meta device to fake CPU tensors, which support autocast and the choice of attention."""
    moved: dict[int, Any] = {}
    for module in model.modules():
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is not None:
                    tensors[name] = moved.setdefault(id(tensor), _fake(tensor))


def _fake(tensor: Tensor) -> Tensor:
    empty = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu")
    return nn.Parameter(empty, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
