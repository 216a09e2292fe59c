"""A model spread over several devices: each holds a share of every layer's weights, gradients and optimizer state (FSDP 2).

In: a model whose weights only rank 0 has read. Out: the same model with sharded parameters, on the
rank's device; and the other way, its whole state on rank 0. A layer is gathered when it computes
and let go after it, so that what a device needs beside its share is one layer. The trade: weights
travel twice a micro-batch, forward and backward.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict, set_model_state_dict
from torch.distributed.fsdp import CPUOffloadPolicy, MixedPrecisionPolicy, OffloadPolicy, fully_shard

from sftdiv.records import SftdivError

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh
    from transformers import PreTrainedModel


def decoder_layers(model: nn.Module) -> list[nn.Module]:
    """The transformer layers, the units that are gathered at once, of any decoder family.

    They are the modules of the classes that a model says may not be split (``_no_split_modules`` of
    `transformers`), where it says so, else the entries of its longest list of modules.

    Raises:
        SftdivError: The model has neither.
    """
    named = set(getattr(model, "_no_split_modules", None) or ())
    layers = [module for module in model.modules() if type(module).__name__ in named]
    if not layers:
        lists = [module for module in model.modules() if isinstance(module, nn.ModuleList) and len(module) > 1]
        layers = list(max(lists, key=len, default=[]))
    if not layers:
        raise SftdivError(
            f"{type(model).__name__} shows no list of transformer layers to shard; use trainer=ddp, or trainer=gpu"
        )
    return layers


def shard(model: PreTrainedModel, mesh: DeviceMesh, *, device: torch.device, precision: str, offload: bool) -> None:
    """Spread a model over the ranks of a mesh, in place; rank 0's weights are everybody's.

    Args:
        model: With weights on rank 0; on the others its parameters may be on the meta device.
        mesh: One-dimensional.
        device: Of this rank.
        precision: Lightning's name; with ``bf16-mixed`` and ``16-mixed`` weights stay float32 and
            what is gathered is cast.
        offload: Keep the shards in the machine's memory.
    """
    first = torch.distributed.get_rank() == 0
    whole: dict[str, Any] = dict(model.state_dict()) if first else {}
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()} if first else {}
    compute = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(precision)
    mixed = MixedPrecisionPolicy(param_dtype=compute, reduce_dtype=None if compute is None else torch.float32)
    how: dict[str, Any] = {
        "mesh": mesh,
        "mp_policy": mixed,
        "offload_policy": CPUOffloadPolicy() if offload else OffloadPolicy(),
    }
    for layer in decoder_layers(model):
        fully_shard(layer, **how)
    fully_shard(model, **how)
    model.to_empty(device=torch.device("cpu") if offload else device)
    model.tie_weights()
    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True, cpu_offload=offload)
    set_model_state_dict(model, whole, options=options)
    for (
        name,
        buffer,
    ) in model.named_buffers():  # such as the frequencies of rotary embeddings, which no checkpoint holds
        moved = buffers[name].to(device) if first else torch.empty_like(buffer, device=device)
        torch.distributed.broadcast(moved, src=0)
        _set_buffer(model, name, moved)


def whole_state(model: nn.Module, *, strategy: str) -> dict[str, Any]:
    """All weights of a model that ``fsdp`` or ``deepspeed`` has sharded in rank 0's memory. Every rank must call it."""
    if strategy == "deepspeed":
        from deepspeed.zero import GatheredParameters

        state = {}
        for name, parameter in model.named_parameters():
            with GatheredParameters(parameter):
                state[name] = parameter.detach().cpu().clone()
        return state
    return get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))


def _set_buffer(model: nn.Module, name: str, value: torch.Tensor) -> None:
    owner, _, own = name.rpartition(".")
    setattr(model.get_submodule(owner), own, value)
