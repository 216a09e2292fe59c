"""Record of a training, for the result row and for ``train.json`` in the model's folder.

Numbers that two equal trainings share are kept apart from those of speed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sftdiv.training.batching.conversations import TokenizedConversations
from sftdiv.training.batching.training_plan import TrainingPlan
from sftdiv.training.config import TrainerConfig
from sftdiv.training.loop import Speed
from sftdiv.training.module import CausalModule


@dataclass(frozen=True, kw_only=True)
class TrainingRecord:
    """Result of a training.

    Attributes:
        steps: Optimizer steps.
        tokens: Tokens over all epochs.
        label_tokens: Label tokens over all epochs.
        loss: Mean loss per label token over the last epoch, in nats.
        padding: Share of computed positions that are padding.
        truncated: Number of truncated conversations.
        dropped: Number of conversations dropped because they have no label token.
        too_long: Number of conversations dropped for their length.
        ended: Share of the untruncated conversations with an end token among their labels.
        validated: Number of validation conversations.
        validation_loss: Best validation loss, in nats per label token.
        trained_parameters: Number of trained parameters.
        speed: Throughput and peak memory.
        resumed_at: Step of the checkpoint that the training resumed from; 0 for none.
        losses: Loss of every step.
        validation: Step and loss of every validation.
        how: Device, precision, micro-batch and memory estimate.
    """

    steps: int
    tokens: int
    label_tokens: int
    loss: float
    padding: float
    truncated: int
    dropped: int
    too_long: int
    ended: float | None
    validated: int
    validation_loss: float | None
    trained_parameters: int
    speed: Speed
    resumed_at: int
    losses: Sequence[float]
    validation: Sequence[tuple[int, float]]
    how: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Content of ``train.json``, with the fields of ``speed`` at the top level."""
        values = asdict(self)
        return values | values.pop("speed")


def record_of(
    conversations: TokenizedConversations,
    plan: TrainingPlan,
    module: CausalModule,
    *,
    speed: Speed,
    trainer: TrainerConfig,
    memory: str,
) -> TrainingRecord:
    """The record of a finished training."""
    steps, losses, validation = plan.steps, module.losses, plan.validation.losses
    done = steps.plan[: len(losses)]
    seen = np.concatenate(done)
    steps_per_epoch = min(len(done), -(-len(conversations.train) // max(map(len, done))))
    weights = [int(steps.label_tokens[chosen].sum()) for chosen in done[-steps_per_epoch:]]
    tokens = int(steps.lengths[seen].sum())
    trained = [parameter for parameter in module.model.parameters() if parameter.requires_grad]
    return TrainingRecord(
        steps=len(done),
        tokens=tokens,
        label_tokens=int(steps.label_tokens[seen].sum()),
        loss=float(np.average(losses[-steps_per_epoch:], weights=weights)),
        padding=1 - tokens / steps.positions(len(done)),
        truncated=conversations.checked.truncated,
        dropped=conversations.checked.masked,
        too_long=conversations.checked.too_long,
        ended=conversations.checked.ended,
        validated=len(conversations.validation),
        validation_loss=min((loss for _, loss in validation), default=None),
        trained_parameters=sum(parameter.numel() for parameter in trained),
        speed=speed,
        resumed_at=steps.first,
        losses=losses,
        validation=validation,
        how={
            "accelerator": trainer.accelerator,
            "strategy": trainer.strategy,
            "ranks": trainer.ranks,
            "precision": trainer.precision,
            "micro_batch": steps.micro_batch,
            "packed": steps.capacity is not None,
            "memory": memory,
        },
    )
