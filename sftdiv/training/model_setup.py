"""The model as it is trained: loaded, with its adapters, its attention and its kernels; and how it becomes a folder again.

In: a base and the settings. Out: a `transformers` model (or `peft`'s around it) on the CPU, whose
parameters ask for gradients where they are trained. Where a model is sharded only rank 0 reads
weights; the others build its outline on the meta device.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sftdiv.modeling.chat_labels import end_token
from sftdiv.modeling.checkpoint import load_model, load_outline, save_checkpoint
from sftdiv.training.adapters import add_adapter, merged, quantization
from sftdiv.training.config import FineTuningConfig, TrainerConfig
from sftdiv.training.distributed.shard import whole_state
from sftdiv.training.loop import this_rank

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DTYPES = {"64-true": torch.float64, "bf16-true": torch.bfloat16}


def prepare_model(
    base: str | Path,
    *,
    revision: str | None,
    method: FineTuningConfig,
    hardware: TrainerConfig,
    packing: bool,
    seed: int,
) -> PreTrainedModel:
    """Load a base and make it ready to be trained.

    Args:
        base: A folder or a hub id.
        revision: Of the hub.
        method: How the weights are trained.
        hardware: Where it will run; resolved.
        packing: Whether rows hold several examples, which decides the attention.
        seed: Of the adapters' first weights.

    Raises:
        SftdivError: It cannot be loaded.
    """
    how: dict[str, Any] = {
        "dtype": DTYPES.get(hardware.precision, torch.float32),
        "revision": revision,
        "attention": attention(method, hardware, packing=packing),
    }
    if hardware.strategy == "fsdp" and hardware.ranks > 1 and this_rank() > 0:
        model = load_outline(base, **how)
    else:
        model = load_model(base, quantization=quantization(method.adapter), **how)
    if method.liger:
        from liger_kernel.transformers import (
            _apply_liger_kernel_to_instance,
        )  # Liger's way to patch a model that is loaded

        _apply_liger_kernel_to_instance(model=model)
    if method.adapter is not None:
        model = add_adapter(model, method.adapter, seed=seed)
    if method.gradient_checkpointing:
        model.config.use_cache = False
        name = (
            "activation" if hasattr(model, "activation_checkpointing_enable") else "gradient"
        )  # as it was called before 5.23
        getattr(model, f"{name}_checkpointing_enable")(**{f"{name}_checkpointing_kwargs": {"use_reentrant": False}})
    if method.compile:
        model.compile(dynamic=True)
    return model


def attention(method: FineTuningConfig, hardware: TrainerConfig, *, packing: bool) -> str:
    """The implementation of attention; with "auto" the fastest that is there.

    Packed rows on a GPU take varlen flash attention, or flex attention where the package
    `flash_attn` is missing; all else takes torch's own, which is flash attention too where no mask
    is needed.
    """
    if method.attention != "auto":
        return method.attention
    if hardware.device == "cuda" and packing:
        return "flash_attention_2" if importlib.util.find_spec("flash_attn") else "flex_attention"
    return "sdpa"


def save_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    *,
    base: str | Path,
    revision: str | None,
    hardware: TrainerConfig,
    method: FineTuningConfig,
    files: Mapping[str, str],
) -> None:
    """Write a trained model as a folder in the hub's format: on rank 0, where ranks share the work; all of them must call it.

    Args:
        model: As it was trained.
        tokenizer: With the chat template of the training.
        folder: Where; what it held is replaced.
        base: What the training began from.
        revision: Of it.
        hardware: Where it ran.
        method: How; an adapter is merged into the model, or saved alone.
        files: More files of the folder.
    """
    sharded = hardware.strategy == "deepspeed" or (hardware.strategy == "fsdp" and hardware.ranks > 1)
    state = whole_state(model, strategy=hardware.strategy) if sharded else None
    if this_rank() > 0:
        return
    if state is not None:  # put the collected weights into a model of one piece
        model = prepare_model(base, revision=revision, method=method, hardware=hardware.alone(), packing=False, seed=0)
        model.load_state_dict(state, strict=False)  # of weights that are tied one name may be missing
    if method.adapter is not None and method.adapter.merge:
        model = merged(model, base, revision=revision, adapter=method.adapter)  # type: ignore[arg-type]
    if hardware.precision in ("bf16-mixed", "16-mixed"):
        model.to(
            torch.bfloat16 if hardware.precision == "bf16-mixed" else torch.float16
        )  # what it computed in, and half of the size
    save_ready(model, tokenizer, folder, files=files)


def save_ready(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path, *, files: Mapping[str, str]
) -> None:
    """Save a model with the tokens that end and fill an answer in its generation config."""
    if model.generation_config is not None:
        model.generation_config.eos_token_id = end_token(tokenizer)
        model.generation_config.pad_token_id = tokenizer.pad_token_id
    save_checkpoint(model, tokenizer, folder, files=files)
