"""Training plan: optimizer steps, validation schedule and resume point.

Input is tokenized conversations and settings. Output is the remaining steps of this rank, and the
callbacks that validate and write checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pytorch_lightning import Callback

from sftdiv.storage.hashing import content_hash
from sftdiv.training.batching.batches import StepDataset, plan_steps
from sftdiv.training.batching.conversations import TokenizedConversations
from sftdiv.training.callbacks.checkpointing import CheckpointCallback
from sftdiv.training.callbacks.validation import ValidationCallback
from sftdiv.training.config import TrainingConfig


@dataclass(frozen=True)
class TrainingPlan:
    """Remaining steps of a training, and its callbacks."""

    steps: StepDataset
    validation: ValidationCallback
    checkpoints: CheckpointCallback

    @property
    def callbacks(self) -> Sequence[Callback]:
        """Callbacks in calling order: a checkpoint includes the latest validation loss."""
        return [self.validation, self.checkpoints]


def plan_training(
    conversations: TokenizedConversations,
    layout: Callable[..., StepDataset],
    folder: Path,
    identity: Mapping[str, Any],
    *,
    config: TrainingConfig,
    seed: int,
) -> TrainingPlan:
    """Plan the steps, starting at the checkpoint of an interrupted training of the same identity.

    Args:
        conversations: Training and validation examples.
        layout: Makes a `StepDataset` of examples, names and a plan.
        folder: Folder of the checkpoints.
        identity: Everything else that decides the weights.
        config: Settings of the training.
        seed: Seed of the order.
    """
    schedule, train, heldout = config.schedule, conversations.train, conversations.validation
    lengths, batch_size = [len(example) for example in train.examples], schedule.batch_size
    rng = np.random.default_rng(seed)
    plan = plan_steps(lengths, epochs=schedule.epochs, batch_size=batch_size, steps=schedule.steps, rng=rng)
    starts = range(0, len(heldout), batch_size)
    heldout_plan = [np.arange(start, min(start + batch_size, len(heldout))) for start in starts]
    steps_per_epoch = -(-len(lengths) // batch_size)
    validation = ValidationCallback(
        layout(heldout.examples, heldout.names, heldout_plan),
        every=max(1, round(schedule.validate_every * steps_per_epoch)),
        patience=schedule.patience,
    )
    checkpoints = CheckpointCallback(
        folder,
        plan=content_hash([dict(identity), seed, list(train.names), [chosen.tolist() for chosen in plan]]),
        minutes=config.fine_tuning.checkpoint_minutes,
        steps=config.fine_tuning.checkpoint_steps,
        validation=validation,
    )
    return TrainingPlan(layout(train.examples, train.names, plan, first=checkpoints.done), validation, checkpoints)
