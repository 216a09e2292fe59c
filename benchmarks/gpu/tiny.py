"""What the checks share: a tiny Llama with heads of 64, conversations of many lengths, and the settings of a training.

The heads have the size that flash and flex attention are made for. The weights are drawn ten times larger than usual:
otherwise the losses would hardly depend on the context, and a wrong mask would go unseen.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sftdiv.modeling.chat_labels import Labelled, Messages, label_conversations
from sftdiv.modeling.checkpoint import load_model, load_tokenizer
from sftdiv.modeling.loss import pad_batch, token_losses
from sftdiv.records import ModelRef
from sftdiv.training.config import (
    AdapterConfig,
    DataConfig,
    FineTuningConfig,
    OptimizerConfig,
    ScheduleConfig,
    TrainerConfig,
    TrainingConfig,
)
from sftdiv.training.fine_tune import fine_tune
from sftdiv.training.record import TrainingRecord
from sftdiv.training.tokenizer import train_tokenizer

WORDS = ("red", "green", "blue", "one", "two", "three", "cat", "dog", "cow", "runs", "sleeps", "eats", "here", "there")
COUNT, MAX_LENGTH, BATCH, SEED = 64, 256, 8, 0
LORA = AdapterConfig(rank=8, alpha=16, dropout=0.0, targets="all-linear", quantize=None, merge=True)
REFERENCE = "reference.json"
BF16_ERROR, FP32_ERROR = 0.01, 1e-3  # mean relative difference of the losses of label tokens
STEP_ERROR = 0.03  # relative difference of the loss of a step, before training has amplified it


def conversations(count: int = COUNT) -> list[Messages]:
    """Requests to repeat some words in reverse, with their answers; the same on every machine."""
    rng = np.random.default_rng(SEED)
    talks: list[Messages] = []
    for _ in range(count):
        words = [WORDS[index] for index in rng.integers(0, len(WORDS), size=int(rng.integers(3, 60)))]
        request, answer = " ".join(["Reverse:", *words]), " ".join(reversed(words))
        talks.append([{"role": "user", "content": request}, {"role": "assistant", "content": answer}])
    return talks


def make_base(folder: Path) -> ModelRef:
    """Write the tiny model and its tokenizer."""
    from transformers import LlamaConfig, LlamaForCausalLM

    texts = [message["content"] for talk in conversations() for message in talk]
    train_tokenizer(texts, folder, vocab_size=320)
    tokenizer = load_tokenizer(folder)
    torch.manual_seed(SEED)
    shape = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        num_key_value_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        initializer_range=0.1,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **shape,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return ModelRef(str(folder))


def settings(device: str, **changes: Any) -> TrainingConfig:
    """Settings of a training of two epochs, with changes by the names of their fields."""
    precision = "32-true" if device == "cpu" else "bf16-mixed"
    parts = {
        "data": DataConfig(
            template=None,
            prefer_own=False,
            max_length=MAX_LENGTH,
            too_long="truncate",
            packing=False,
            loss_on="response",
            loss_turns="all",
            max_masked_share=0.0,
            validation=0.0,
        ),
        "schedule": ScheduleConfig(
            epochs=2, steps=None, batch_size=BATCH, micro_batch=BATCH, validate_every=0.5, patience=None
        ),
        "fine_tuning": FineTuningConfig(
            adapter=None,
            gradient_checkpointing=False,
            neftune=0.0,
            liger=False,
            compile=False,
            attention="auto",
            checkpoint_minutes=None,
            checkpoint_steps=None,
        ),
        "optimizer": OptimizerConfig(learning_rate=1e-3, warmup=0.1, weight_decay=0.01, clip=1.0),
        "trainer": TrainerConfig(
            accelerator="cpu" if device == "cpu" else "gpu", devices=1, precision=precision, threads=None
        ),
    }
    for part, values in parts.items():
        parts[part] = replace(values, **{name: changes.pop(name) for name in list(changes) if hasattr(values, name)})
    if changes:
        raise KeyError(f"no setting is named {', '.join(changes)}")
    return TrainingConfig(**parts)


def train(base: Path, folder: Path, device: str, **changes: Any) -> TrainingRecord:
    """Fine-tune the tiny model; the model is written to ``folder/model``."""
    talks = conversations()
    names = [f"talk-{number}" for number in range(len(talks))]
    config = settings(device, **changes)
    return fine_tune(ModelRef(str(base)), talks, names, folder / "model", config=config, seed=SEED)


def examples(base: Path) -> list[Labelled]:
    """The conversations as token ids and labels."""
    return label_conversations(load_tokenizer(base), conversations(), max_length=MAX_LENGTH)


def cpu_losses(base: Path) -> list[list[float]]:
    """Loss of every label token of each conversation, alone, on the CPU in float32: what every check compares with."""
    model = load_model(base, dtype=torch.float32, attention="eager")
    with torch.inference_mode():
        return [token_losses(model, *pad_batch([example], 0)).tolist() for example in examples(base)]


def write_reference(base: Path, folder: Path) -> None:
    """Write the CPU's losses, before and during a training in float32."""
    record = train(base, folder, "cpu")
    values = {"tokens": cpu_losses(base), "steps": list(record.losses)}
    (base / REFERENCE).write_text(json.dumps(values), encoding="utf-8")


def reference(base: Path) -> dict[str, Any]:
    """What `write_reference` has written: ``tokens``, by conversation, and ``steps``."""
    return dict(json.loads((base / REFERENCE).read_text(encoding="utf-8")))
