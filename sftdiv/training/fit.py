"""Fine-tune a causal language model on conversations.

In: a base model (a folder or a hub id) and messages. Out: a model folder in the hub's format and a record of the training.
All weights are trained. Only responses are learned, each token of an optimizer step with equal weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from sftdiv.causal.checkpoint import load_model, load_tokenizer, save_checkpoint
from sftdiv.causal.labels import Labelled, Messages, end_token, label_conversations
from sftdiv.records import SftdivError, Tracker
from sftdiv.training.batches import Plan, Steps, plan_steps
from sftdiv.training.engine import train
from sftdiv.training.settings import Hardware, Optimizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class TrainingRecord:
    """What a training did: ``loss`` is its last epoch's mean in nats a label token, ``padding`` the share of positions without a token."""

    steps: int
    tokens: int
    label_tokens: int
    loss: float
    padding: float
    truncated: int
    dropped: int


def fine_tune(
    base: str | Path,
    messages: Sequence[Messages],
    names: Sequence[str],
    folder: Path,
    *,
    revision: str | None = None,
    template: str | None,
    max_length: int,
    epochs: int,
    batch_size: int,
    accumulate: int,
    learning_rate: float,
    warmup: float,
    weight_decay: float,
    clip: float,
    hardware: Hardware,
    seed: int,
    tracker: Tracker | None = None,
) -> TrainingRecord:
    """Train ``base`` on conversations and save it.

    Args:
        base: The model to start from.
        messages: The conversations.
        names: What errors call each of them.
        folder: Where the model is saved; what it held before is replaced.
        revision: A branch, tag or commit, where the base is a hub id; None is its main branch.
        template: A Jinja chat template; None takes the base's own.
        max_length: Tokens a conversation at most.
        epochs: Passes over the conversations.
        batch_size: Conversations in a micro-batch.
        accumulate: Micro-batches in an optimizer step.
        learning_rate: The peak of AdamW's.
        warmup: Share of the steps in which the learning rate rises; then it falls as half a cosine.
        weight_decay: Of matrices.
        clip: Gradient norm to clip at.
        hardware: Where it runs.
        seed: Decides the order of the conversations.
        tracker: Is told of each step.

    Raises:
        SftdivError: No conversation has anything to learn, the base cannot be loaded, or a loss is not finite.
    """
    tokenizer = load_tokenizer(base, revision=revision, template=template)
    labelled = label_conversations(tokenizer, messages, max_length=max_length)
    kept = [position for position, example in enumerate(labelled) if example.label_tokens]
    if not kept:
        raise SftdivError(f"none of {len(messages)} conversations has a label token: is there an assistant turn after a user turn?")
    examples = [labelled[position] for position in kept]
    lengths, rng = [len(example) for example in examples], np.random.default_rng(seed)
    plan = plan_steps(lengths, epochs=epochs, batch_size=batch_size, accumulate=accumulate, rng=rng)
    steps = Steps(examples, [names[position] for position in kept], plan, pad_id=int(tokenizer.pad_token_id))
    model = load_model(base, revision=revision, dtype=torch.bfloat16 if hardware.precision == "bf16-true" else torch.float32)
    optimizer = Optimizer(learning_rate=learning_rate, warmup=warmup, weight_decay=weight_decay, clip=clip)
    losses = train(model, steps, count=len(plan), optimizer=optimizer, hardware=hardware, seed=seed, tracker=tracker, title="fine-tuning")
    if hardware.precision != "32-true":
        model.to(torch.bfloat16)  # what it computed in, and half of the size
    _save(model, tokenizer, folder)
    return _record(examples, plan, losses, epochs=epochs, dropped=len(messages) - len(kept))


def save_untrained(base: str | Path, folder: Path, *, revision: str | None = None, template: str | None) -> None:
    """Save a base model as `fine_tune` saves a trained one: with the chat template and the token that ends an answer.

    Args:
        base: A folder or a hub id.
        folder: Where it is saved.
        revision: Of the hub.
        template: The chat template; None for the tokenizer's own.
    """
    tokenizer = load_tokenizer(base, revision=revision, template=template)
    _save(load_model(base, revision=revision, dtype="auto"), tokenizer, folder)


def _save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    model.generation_config.eos_token_id = end_token(tokenizer)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    save_checkpoint(model, tokenizer, folder)


def _record(examples: Sequence[Labelled], plan: Plan, losses: Sequence[float], *, epochs: int, dropped: int) -> TrainingRecord:
    lengths = np.array([len(example) for example in examples])
    learned = np.array([example.label_tokens for example in examples])
    last = slice(len(plan) - len(plan) // epochs, len(plan))
    weights = [sum(int(learned[batch].sum()) for batch in step) for step in plan[last]]
    positions = sum(len(batch) * int(lengths[batch].max()) for step in plan for batch in step)
    return TrainingRecord(
        steps=len(plan),
        tokens=int(lengths.sum()) * epochs,
        label_tokens=int(learned.sum()) * epochs,
        loss=float(np.average(losses[last], weights=weights)),
        padding=1 - int(lengths.sum()) * epochs / positions,
        truncated=sum(example.truncated for example in examples),
        dropped=dropped,
    )
