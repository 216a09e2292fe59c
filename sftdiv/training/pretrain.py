"""Trains a base model from scratch: a small Llama that reads raw text for a set number of steps.

Input is texts and a tokenizer. Output is a model folder that includes the tokenizer. The model has
not seen the chat format. Texts are shuffled, ended with the end token, and concatenated into rows of
``context`` tokens. The trade-off: no position is padding, but a row may start within a text and
attend to the text before.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from sftdiv.modeling.checkpoint import load_tokenizer, save_checkpoint
from sftdiv.protocols import Tracker
from sftdiv.records import ModelRef, SftdivError
from sftdiv.training.architecture import ArchitectureConfig
from sftdiv.training.batching.batches import Batch, Step
from sftdiv.training.callbacks.training_progress import ThroughputMeter
from sftdiv.training.config import OptimizerConfig, TrainerConfig
from sftdiv.training.loop import train
from sftdiv.training.module import CausalModule
from sftdiv.training.resources.flops import model_flops, peak_flops
from sftdiv.training.resources.memory_advice import memory_errors_explained

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

MEMORY_ADVICE = "Settings that need less: a smaller model.pretrain.batch_size, model.pretrain.context or model"


def train_base(
    texts: Sequence[str],
    tokenizer_folder: Path,
    folder: Path,
    *,
    architecture: ArchitectureConfig,
    steps: int,
    batch_size: int,
    context: int,
    learning_rate: float,
    warmup: float,
    weight_decay: float,
    clip: float,
    trainer: TrainerConfig,
    seed: int,
    tracker: Tracker | None = None,
) -> float:
    """Train a base model on texts and save it; return the mean loss of the last tenth of the steps, in nats per token.

    Args:
        texts: Training texts, repeated if they are too few.
        tokenizer_folder: Tokenizer from `train_tokenizer`.
        folder: Output folder of the model.
        architecture: Shape of the model.
        steps: Optimizer steps.
        batch_size: Rows per step.
        context: Tokens per row.
        learning_rate: Peak learning rate of AdamW, which falls as half a cosine.
        warmup: Share of the steps over which the learning rate rises.
        weight_decay: Decay of matrices.
        clip: Gradient norm above which gradients are clipped.
        trainer: Accelerator and precision; one device is used.
        seed: Seed of the initial weights and of the order of the texts.
        tracker: Receives the metrics of every optimizer step.

    Raises:
        SftdivError: There is no text, or a loss is not finite.
    """
    tokenizer = load_tokenizer(ModelRef(str(tokenizer_folder)))
    rows = pack(texts, tokenizer, rows=steps * batch_size, context=context, rng=np.random.default_rng(seed))
    optimizer = OptimizerConfig(learning_rate=learning_rate, warmup=warmup, weight_decay=weight_decay, clip=clip)
    module = CausalModule(
        make_model(architecture, tokenizer, seed=seed), steps=steps, optimizer=optimizer, tracker=tracker
    )
    _train(module, PackedSteps(rows.reshape(steps, batch_size, context)), trainer.resolved().single_device(), seed)
    save_checkpoint(module.model, tokenizer, folder)
    return float(np.mean(module.losses[-max(1, steps // 10) :]))


def _train(module: CausalModule, steps: PackedSteps, trainer: TrainerConfig, seed: int) -> None:
    measure = partial(peak_flops, trainer.device, trainer.precision)
    meter = ThroughputMeter(model_flops(module.model), measure(), remeasure=partial(measure, again=True))
    with memory_errors_explained(MEMORY_ADVICE):
        train(module, steps, trainer=trainer, seed=seed, title="base model", meter=meter)


def make_model(architecture: ArchitectureConfig, tokenizer: PreTrainedTokenizerBase, *, seed: int) -> LlamaForCausalLM:
    """A Llama whose initial weights are drawn by the seed."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=architecture.width,
        intermediate_size=architecture.mlp_width,
        num_hidden_layers=architecture.layers,
        num_attention_heads=architecture.heads,
        max_position_embeddings=architecture.positions,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def pack(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, *, rows: int, context: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Token ids of concatenated texts, shape (rows, context), shuffled anew for every pass over the texts.

    Raises:
        SftdivError: There is no text.
    """
    if not texts:
        raise SftdivError(
            "there is no text to pretrain the base model on; is model.pretrain_share 0, or the corpus empty?"
        )
    encoded = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    documents = [np.array([*ids, tokenizer.eos_token_id], dtype=np.int64) for ids in encoded]
    stream: list[NDArray[np.int64]] = []
    missing = rows * context
    while missing > 0:
        for index in rng.permutation(len(documents)):
            stream.append(documents[index])
            missing -= len(documents[index])
    return np.concatenate(stream)[: rows * context].reshape(rows, context)


class PackedSteps(Dataset[Step]):
    """Rows of token ids, shape (steps, rows, context), in which every token is a label."""

    def __init__(self, rows: NDArray[np.int64]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Step:
        input_ids = torch.from_numpy(self.rows[index])
        count, context = input_ids.shape
        batch = Batch([f"row {row}" for row in range(count)], input_ids, input_ids, None, [[context]] * count)
        return Step([batch], count * (context - 1), np.full(count, context))
