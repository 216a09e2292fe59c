"""Loads a model for training, with its adapters, attention and kernels, and saves the trained model as a folder.

The model is a `transformers` model (or `peft`'s wrapper of one) on the CPU, with ``requires_grad``
set on the trained parameters. If a model is sharded, only rank 0 reads weights; the other ranks
build it on the meta device.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sftdiv.modeling.chat_labels import end_token
from sftdiv.modeling.checkpoint import load_meta_model, load_model, save_checkpoint
from sftdiv.records import ModelRef
from sftdiv.training.adapters import add_adapter, merged, quantization
from sftdiv.training.config import TrainingConfig
from sftdiv.training.distributed.shard import full_state
from sftdiv.training.loop import this_rank

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DTYPES = {"64-true": torch.float64, "bf16-true": torch.bfloat16}
SAVED_DTYPES = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}  # that of the arithmetic, at half the size


def prepare_model(base: ModelRef, *, config: TrainingConfig, seed: int) -> PreTrainedModel:
    """Load a base model and make it ready for training.

    Args:
        base: Base model.
        config: Settings of the training, with a resolved trainer.
        seed: Seed of the adapters' initial weights.

    Raises:
        SftdivError: The model cannot be loaded.
    """
    trainer, fine_tuning = config.trainer, config.fine_tuning
    dtype, implementation = DTYPES.get(trainer.precision, torch.float32), attention(config)
    if trainer.strategy == "fsdp" and trainer.ranks > 1 and this_rank() > 0:
        model = load_meta_model(base, dtype=dtype, attention=implementation)
    else:
        model = load_model(base, dtype=dtype, attention=implementation, quantization=quantization(fine_tuning.adapter))
    if fine_tuning.liger:
        from liger_kernel.transformers import _apply_liger_kernel_to_instance  # for a model that is loaded already

        # its own loss has a forward pass that knows no mask of the logits to keep, see `token_losses`
        _apply_liger_kernel_to_instance(model=model, fused_linear_cross_entropy=False)
    if fine_tuning.adapter is not None:
        model = add_adapter(model, fine_tuning.adapter, seed=seed)
    if fine_tuning.gradient_checkpointing:
        model.config.use_cache = False
        # "gradient" before transformers 5.23
        prefix = "activation" if hasattr(model, "activation_checkpointing_enable") else "gradient"
        settings: dict[str, Any] = {f"{prefix}_checkpointing_kwargs": {"use_reentrant": False}}
        getattr(model, f"{prefix}_checkpointing_enable")(**settings)
    if fine_tuning.compile:
        model.compile(dynamic=True)
    return model


def attention(config: TrainingConfig) -> str:
    """Attention implementation; ``auto`` is the fastest one available.

    Packed sequences on a GPU use varlen flash attention, or flex attention if the package
    `flash_attn` is missing. Everything else uses torch's own, which is flash attention too if no
    mask is needed.
    """
    if config.fine_tuning.attention != "auto":
        return config.fine_tuning.attention
    if config.trainer.device == "cuda" and config.data.packing:
        return "flash_attention_2" if importlib.util.find_spec("flash_attn") else "flex_attention"
    return "sdpa"


def save_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    *,
    base: ModelRef,
    config: TrainingConfig,
    files: Mapping[str, str],
) -> None:
    """Write a trained model as a folder in the hub's format, on rank 0. Every rank must call it.

    Args:
        model: Trained model; an adapter is merged into it, or saved alone.
        tokenizer: Tokenizer with the chat template of the training.
        folder: Output folder; its previous content is replaced.
        base: Base model of the training.
        config: Settings of the training, with a resolved trainer.
        files: Further text files of the folder, by name.
    """
    trainer, adapter = config.trainer, config.fine_tuning.adapter
    sharded = trainer.strategy == "deepspeed" or (trainer.strategy == "fsdp" and trainer.ranks > 1)
    state = full_state(model, strategy=trainer.strategy) if sharded else None
    if this_rank() > 0:
        return
    if state is not None:
        unshared = replace(config, trainer=trainer.single_device(), data=replace(config.data, packing=False))
        model = prepare_model(base, config=unshared, seed=0)
        model.load_state_dict(state, strict=False)  # one of the names of tied weights may be missing
    if adapter is not None and adapter.merge:
        if config.fine_tuning.liger:
            model.to(trainer.device)  # its kernels compute the probe of the merge on a GPU only
        model = merged(model, base, adapter=adapter)
    if trainer.precision in SAVED_DTYPES:
        model.to(SAVED_DTYPES[trainer.precision])
    save_with_end_tokens(model, tokenizer, folder, files=files)


def save_with_end_tokens(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path, *, files: Mapping[str, str]
) -> None:
    """Save a model whose generation config names the tokens that end and pad a response."""
    if model.generation_config is not None:
        model.generation_config.eos_token_id = end_token(tokenizer)
        model.generation_config.pad_token_id = tokenizer.pad_token_id
    save_checkpoint(model, tokenizer, folder, files=files)
