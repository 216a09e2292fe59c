"""Low-rank adapters: what is trained when the base stays as it is, and how they become a model folder again.

In: a model and the settings of LoRA. Out: the same model with adapters in its linear layers
(`peft`), of which alone gradients are taken.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sftdiv.modeling.checkpoint import load_model, peft_is_late
from sftdiv.records import SftdivError
from sftdiv.training.config import AdapterConfig

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


def quantization(adapter: AdapterConfig | None) -> Any:
    """How the base is held, for `transformers`: 4-bit NormalFloat with double quantization as in the paper of QLoRA, or None."""
    if adapter is None or adapter.quantize is None:
        return None
    from transformers import BitsAndBytesConfig

    compute = torch.bfloat16 if torch.cuda.is_available() else torch.float32
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=compute
    )


def add_adapter(model: PreTrainedModel, adapter: AdapterConfig, *, seed: int) -> PeftModel:
    """Put adapters into a model: matrix A drawn by the seed, B zero, so that it begins as the base.

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
    with torch.random.fork_rng(), peft_is_late():
        torch.manual_seed(seed)
        try:
            return get_peft_model(model, settings, autocast_adapter_dtype=False)  # type: ignore[return-value]
        except ValueError as error:
            linear = sorted(
                {
                    name.rpartition(".")[2]
                    for name, module in model.named_modules()
                    if isinstance(module, torch.nn.Linear)
                }
            )
            raise SftdivError(
                f"train.adapter.targets={targets} fit no module; the model has: all-linear, {', '.join(linear)}"
            ) from error


def merged(adapted: PeftModel, base: str | Path, *, revision: str | None, adapter: AdapterConfig) -> PreTrainedModel:
    """The base with the updates added to its weights; where the base was quantized, to its weights read anew."""
    if adapter.quantize is None:
        return adapted.merge_and_unload()  # type: ignore[operator, no-any-return]
    from peft import PeftModel

    with tempfile.TemporaryDirectory() as folder, peft_is_late():
        adapted.save_pretrained(folder)
        whole = PeftModel.from_pretrained(load_model(base, revision=revision, dtype="auto"), folder)
        return whole.merge_and_unload()  # type: ignore[operator, no-any-return]
