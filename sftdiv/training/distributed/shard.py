"""Shards a model over several devices with FSDP 2.

Each device holds a share of every layer's weights, gradients and optimizer state. Only rank 0 has
read the weights, and `full_state` collects them there again. A layer is gathered when it computes
and released afterwards, so that beside its share a device needs memory for one layer. The
trade-off: weights are transferred twice per micro-batch, for the forward and the backward pass.
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
    """Transformer layers, each of which is gathered as a whole, of any decoder family.

    These are the modules of the classes in ``_no_split_modules`` of `transformers`, else the entries
    of the model's longest list of modules.

    Raises:
        SftdivError: The model has neither.
    """
    class_names = set(getattr(model, "_no_split_modules", None) or ())
    layers = [module for module in model.modules() if type(module).__name__ in class_names]
    if not layers:
        lists = [module for module in model.modules() if isinstance(module, nn.ModuleList) and len(module) > 1]
        layers = list(max(lists, key=len, default=[]))
    if not layers:
        raise SftdivError(
            f"{type(model).__name__} has no list of transformer layers to shard; use trainer=ddp, or trainer=gpu"
        )
    return layers


def shard(model: PreTrainedModel, mesh: DeviceMesh, *, device: torch.device, precision: str, offload: bool) -> None:
    """Shard a model over the ranks of a mesh, in place, with the weights of rank 0.

    Args:
        model: Model with weights on rank 0; on other ranks its parameters may be on the meta device.
        mesh: One-dimensional device mesh.
        device: Device of this rank.
        precision: Lightning's name of the precision; with ``bf16-mixed`` and ``16-mixed`` weights
            stay float32 and are cast when gathered.
        offload: Whether to keep the shards in the machine's memory.
    """
    is_first_rank = torch.distributed.get_rank() == 0
    state: dict[str, Any] = dict(model.state_dict()) if is_first_rank else {}
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()} if is_first_rank else {}
    compute = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(precision)
    mixed = MixedPrecisionPolicy(param_dtype=compute, reduce_dtype=None if compute is None else torch.float32)
    settings: dict[str, Any] = {
        "mesh": mesh,
        "mp_policy": mixed,
        "offload_policy": CPUOffloadPolicy() if offload else OffloadPolicy(),
    }
    for layer in decoder_layers(model):
        fully_shard(layer, **settings)
    fully_shard(model, **settings)
    model.to_empty(device=torch.device("cpu") if offload else device)
    model.tie_weights()
    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True, cpu_offload=offload)
    set_model_state_dict(model, state, options=options)
    for path, buffer in model.named_buffers():  # such as rotary frequencies, which are in no state dict
        moved = buffers[path].to(device) if is_first_rank else torch.empty_like(buffer, device=device)
        torch.distributed.broadcast(moved, src=0)
        owner, _, name = path.rpartition(".")
        setattr(model.get_submodule(owner), name, moved)


def full_state(model: nn.Module, *, strategy: str) -> dict[str, Any]:
    """All weights of a model sharded by ``fsdp`` or ``deepspeed``, on rank 0's CPU. Every rank must call it."""
    if strategy == "deepspeed":
        from deepspeed.zero import GatheredParameters

        state = {}
        for name, parameter in model.named_parameters():
            with GatheredParameters(parameter):
                state[name] = parameter.detach().cpu().clone()
        return state
    return get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
