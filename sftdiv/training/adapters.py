"""Low-rank adapters of `peft`: adding them to a model whose own weights stay frozen, and merging them into it."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

import torch

from sftdiv.modeling.checkpoint import load_model, peft_warnings_ignored
from sftdiv.records import ModelRef, SftdivError
from sftdiv.training.config import AdapterConfig
from sftdiv.training.merge import merge_checked

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


def quantization(adapter: AdapterConfig | None) -> Any:
    """Quantization of the base for `transformers`: 4-bit NormalFloat with double quantization (QLoRA), or None."""
    if adapter is None or adapter.quantize is None:
        return None
    from transformers import BitsAndBytesConfig

    compute = torch.bfloat16 if torch.cuda.is_available() else torch.float32
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=compute
    )


def add_adapter(model: PreTrainedModel, adapter: AdapterConfig, *, seed: int) -> PeftModel:
    """Add adapters to a model: matrix A is drawn by the seed, B is zero, so that the model starts as the base.

    Raises:
        SftdivError: No module has one of the names in ``targets``.
    """
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

    if adapter.quantize is not None:
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    targets = adapter.targets if isinstance(adapter.targets, str) else list(adapter.targets)
    settings = LoraConfig(
        r=adapter.rank,
        lora_alpha=adapter.alpha,
        lora_dropout=adapter.dropout,
        target_modules=targets,
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(), peft_warnings_ignored():
        torch.manual_seed(seed)
        try:
            return get_peft_model(model, settings, autocast_adapter_dtype=False)
        except ValueError as error:
            named = model.named_modules()
            linear = {name.rpartition(".")[2] for name, module in named if isinstance(module, torch.nn.Linear)}
            raise SftdivError(
                f"train.adapter.targets={targets} match no module; "
                f"the model has: all-linear, {', '.join(sorted(linear))}"
            ) from error


def merged(adapted: PeftModel, base: ModelRef, *, adapter: AdapterConfig) -> PreTrainedModel:
    """The base with the update added to its weights; a quantized base is loaded again unquantized.

    Raises:
        SftdivError: The merged model computes something else than the model with the adapter.
    """
    if adapter.quantize is None:
        return merge_checked(adapted)
    from peft import PeftModel

    with tempfile.TemporaryDirectory() as folder, peft_warnings_ignored():
        adapted.save_pretrained(folder)
        return merge_checked(PeftModel.from_pretrained(load_model(base, dtype="auto"), folder))
