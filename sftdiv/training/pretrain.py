"""A base model from scratch: a small Llama that reads raw text for a set number of steps.

In: texts and a tokenizer. Out: a model folder with the tokenizer in it. It has read the texts, and
has not seen the chat format. Texts are shuffled, ended with the end token, and packed end to end
into rows of ``context`` tokens; no position is wasted on padding, at the price that a row may start
amid a text and attend to the one before.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from sftdiv.modeling.checkpoint import load_tokenizer, save_checkpoint
from sftdiv.protocols import Tracker
from sftdiv.records import SftdivError
from sftdiv.training.batching.batches import Batch, Step
from sftdiv.training.config import ArchitectureConfig, OptimizerConfig, TrainerConfig
from sftdiv.training.loop import train
from sftdiv.training.resources.flops import peak_flops, work_of

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerBase


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
    hardware: TrainerConfig,
    seed: int,
    tracker: Tracker | None = None,
) -> float:
    """Train a base model on texts and save it.

    Args:
        texts: What it reads, again and again when they are few.
        tokenizer_folder: From `train_tokenizer`.
        folder: Where the model is saved.
        architecture: Its shape.
        steps: Optimizer steps; their number, not the time, decides when it ends.
        batch_size: Rows in a step.
        context: Tokens in a row.
        learning_rate: The peak of AdamW's.
        warmup: Share of the steps in which the learning rate rises; then it falls as half a cosine.
        weight_decay: Of matrices.
        clip: Gradient norm to clip at.
        hardware: Where it runs.
        seed: Decides the first weights and the order of the texts.
        tracker: Is told of each step.

    Returns:
        The mean loss of the last tenth of the steps, in nats a token.

    Raises:
        SftdivError: There is no text, or a loss is not finite.
    """
    tokenizer = load_tokenizer(tokenizer_folder)
    rows = pack(texts, tokenizer, rows=steps * batch_size, context=context, rng=np.random.default_rng(seed))
    packed = PackedSteps(rows.reshape(steps, batch_size, context))
    model = make_model(architecture, tokenizer, seed=seed)
    optimizer = OptimizerConfig(learning_rate=learning_rate, warmup=warmup, weight_decay=weight_decay, clip=clip)
    alone = hardware.resolved().alone()
    module, _ = train(
        model,
        packed,
        count=steps,
        optimizer=optimizer,
        hardware=alone,
        seed=seed,
        title="base model",
        tracker=tracker,
        work=work_of(model),
        peak=peak_flops(alone.device, alone.precision),
    )
    save_checkpoint(model, tokenizer, folder)
    return float(np.mean(module.losses[-max(1, steps // 10) :]))


def make_model(architecture: ArchitectureConfig, tokenizer: PreTrainedTokenizerBase, *, seed: int) -> LlamaForCausalLM:
    """A Llama with weights drawn by the seed."""
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
    """Token ids of shuffled texts end to end, shape (rows, context); every pass over the texts has an order of its own.

    Raises:
        SftdivError: There is no text.
    """
    if not texts:
        raise SftdivError(
            "there is no text for the base model to read; is model.pretrain_share 0, or the corpus empty?"
        )
    encoded = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    documents = [np.array([*ids, tokenizer.eos_token_id], dtype=np.int64) for ids in encoded]
    stream: list[NDArray[np.int64]] = []
    missing = rows * context
    while missing > 0:
        for position in rng.permutation(len(documents)):
            stream.append(documents[position])
            missing -= len(documents[position])
    return np.concatenate(stream)[: rows * context].reshape(rows, context)


class PackedSteps(Dataset[Step]):
    """Rows of token ids, shape (steps, rows, context), in which every token is learned."""

    def __init__(self, rows: NDArray[np.int64]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> Step:
        input_ids = torch.from_numpy(self.rows[position])
        count, context = input_ids.shape
        batch = Batch([f"row {row}" for row in range(count)], input_ids, input_ids, None, [[context]] * count)
        return Step([batch], count * (context - 1), np.full(count, context))
