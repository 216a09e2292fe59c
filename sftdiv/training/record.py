"""What a training did, for the result row and for ``train.json`` in the model's folder.

In: the plan, the losses and the counts. Out: one frozen record. Numbers that two equal trainings
share stand apart from those of speed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sftdiv.training.batching.conversations import Conversations
from sftdiv.training.batching.training_plan import TrainingPlan
from sftdiv.training.config import TrainerConfig
from sftdiv.training.loop import Speed
from sftdiv.training.module import CausalModule


@dataclass(frozen=True, kw_only=True)
class TrainingRecord:
    """What a training did.

    ``tokens`` and ``label_tokens`` are those seen over all epochs; ``loss`` is the last epoch's
    mean in nats a label token; ``padding`` the share of positions without a token; ``truncated``,
    ``dropped`` (nothing to learn), ``too_long`` (dropped by choice) and ``validated`` count
    conversations, and ``ended`` is the share of the whole ones that learn to end. ``losses`` holds
    every step's, ``validation`` pairs of step and loss; ``how`` the device, precision and
    micro-batch that were used, and the estimate of the memory.
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
        """One object for ``train.json``, the speed among the rest."""
        values = asdict(self)
        return values | values.pop("speed")


def record_of(
    data: Conversations,
    course: TrainingPlan,
    module: CausalModule,
    *,
    speed: Speed,
    hardware: TrainerConfig,
    memory: str,
) -> TrainingRecord:
    """The record of a training that is over."""
    steps, losses, validation = course.steps, module.losses, course.validation.losses
    done = steps.plan[: len(losses)]
    seen = np.concatenate(done)
    an_epoch = min(len(done), -(-len(data.train) // max(map(len, done))))
    weights = [int(steps.label_tokens[chosen].sum()) for chosen in done[-an_epoch:]]
    tokens = int(steps.lengths[seen].sum())
    return TrainingRecord(
        steps=len(done),
        tokens=tokens,
        label_tokens=int(steps.label_tokens[seen].sum()),
        loss=float(np.average(losses[-an_epoch:], weights=weights)),
        padding=1 - tokens / steps.positions(len(done)),
        truncated=data.checked.truncated,
        dropped=data.checked.masked,
        too_long=data.checked.too_long,
        ended=data.checked.ended,
        validated=len(data.held),
        validation_loss=min((loss for _, loss in validation), default=None),
        trained_parameters=sum(parameter.numel() for parameter in module.model.parameters() if parameter.requires_grad),
        speed=speed,
        resumed_at=steps.first,
        losses=losses,
        validation=validation,
        how={
            "accelerator": hardware.accelerator,
            "strategy": hardware.strategy,
            "ranks": hardware.ranks,
            "precision": hardware.precision,
            "micro_batch": steps.micro_batch,
            "packed": steps.capacity is not None,
            "memory": memory,
        },
    )
