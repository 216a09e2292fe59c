"""The course of a training before it begins: its steps, when it validates, where it is resumed.

In: the conversations and the settings. Out: the steps of this rank that are left, and the callbacks
that watch over them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pytorch_lightning import Callback

from sftdiv.storage.hashing import content_hash
from sftdiv.training.batching.batches import Steps, plan_steps
from sftdiv.training.batching.conversations import Conversations
from sftdiv.training.callbacks.checkpointing import Checkpoints
from sftdiv.training.callbacks.validation import Validation
from sftdiv.training.config import FineTuningConfig, ScheduleConfig


@dataclass(frozen=True)
class TrainingPlan:
    """The steps that are left, and who watches them."""

    steps: Steps
    validation: Validation
    checkpoints: Checkpoints

    @property
    def callbacks(self) -> Sequence[Callback]:
        """In the order in which they are called: a checkpoint holds what validation found."""
        return [self.validation, self.checkpoints]


def plan_training(
    data: Conversations,
    layout: Callable[..., Steps],
    folder: Path,
    identity: Mapping[str, Any],
    *,
    length: ScheduleConfig,
    method: FineTuningConfig,
    seed: int,
) -> TrainingPlan:
    """Plan the steps, from the checkpoint on that a training of the same identity has left.

    Args:
        data: What is trained on and what validates.
        layout: Makes `Steps` of examples, names and a plan.
        folder: Of the checkpoints.
        identity: What else decides the weights.
        length: How long is trained.
        method: How often checkpoints are kept.
        seed: Of the order.
    """
    lengths = [len(example) for example in data.train.examples]
    plan = plan_steps(
        lengths, epochs=length.epochs, batch_size=length.batch_size, steps=length.steps, rng=np.random.default_rng(seed)
    )
    held = [
        np.arange(start, min(start + length.batch_size, len(data.held)))
        for start in range(0, len(data.held), length.batch_size)
    ]
    an_epoch = -(-len(lengths) // length.batch_size)
    validation = Validation(
        layout(data.held.examples, data.held.names, held),
        every=max(1, round(length.validate_every * an_epoch)),
        patience=length.patience,
    )
    checkpoints = Checkpoints(
        folder,
        plan=content_hash([dict(identity), seed, list(data.train.names), [chosen.tolist() for chosen in plan]]),
        minutes=method.checkpoint_minutes,
        steps=method.checkpoint_steps,
        validation=validation,
    )
    return TrainingPlan(
        layout(data.train.examples, data.train.names, plan, first=checkpoints.done), validation, checkpoints
    )
