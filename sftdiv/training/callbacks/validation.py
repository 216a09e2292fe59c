"""Validation loss during training, and early stopping when it no longer improves.

Output is the losses with the steps at which they were measured and, with a patience, the best
weights. The trade-off: those weights take the memory of the trained parameters once more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from pytorch_lightning import Callback, Trainer
from torch import Tensor

from sftdiv.training.batching.batches import Step, StepDataset
from sftdiv.training.module import CausalModule


class ValidationCallback(Callback):
    """Measures the validation loss at an interval and at the end.

    Args:
        steps: Validation examples, each once; may be empty.
        every: Optimizer steps between two validations.
        patience: Validations without improvement after which training stops; None never stops it.
    """

    def __init__(self, steps: StepDataset, *, every: int, patience: int | None) -> None:
        self.steps, self.every, self.patience = steps, every, patience
        self.losses: list[tuple[int, float]] = []
        self.best: dict[str, Tensor] = {}

    @property
    def without_improvement(self) -> int:
        """Validations since the best one."""
        values = [loss for _, loss in self.losses]
        return len(values) - 1 - values.index(min(values)) if values else 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: CausalModule, outputs: Any, batch: Step, batch_idx: int
    ) -> None:
        """Validate at the interval."""
        if not len(self.steps) or (pl_module.done % self.every and pl_module.done != pl_module.steps):
            return
        loss = self._loss(pl_module)
        self.losses.append((pl_module.done, loss))
        pl_module.measured["validation.loss"] = loss
        if self.patience is not None:
            if self.without_improvement == 0:
                self.keep_best(pl_module)
            trainer.should_stop = trainer.should_stop or self.without_improvement >= self.patience

    def keep_best(self, module: CausalModule) -> None:
        """Copy the current weights; without a patience nothing is copied."""
        if self.patience is not None:
            self.best = {name: parameter.detach().clone() for name, parameter in _trained_parameters(module)}

    def restore_best(self, module: CausalModule) -> None:
        """Restore the best weights; without a patience the last ones remain."""
        with torch.no_grad():
            for name, parameter in _trained_parameters(module):
                if name in self.best:
                    parameter.copy_(self.best[name])

    def _loss(self, module: CausalModule) -> float:
        """Mean loss per label token over all ranks, in nats."""
        module.model.eval()
        total = torch.zeros(2, dtype=torch.float64, device=module.device)  # sum of losses, label tokens
        with torch.no_grad(), module.trainer.precision_plugin.forward_context():
            for index in range(len(self.steps)):
                step = module.transfer_batch_to_device(self.steps[index], module.device, 0)
                for batch in step.batches:
                    losses = module.losses_of(batch)
                    count = torch.tensor(float(len(losses)), device=losses.device)
                    total += torch.stack([losses.double().sum(), count])
        if module.ranks > 1:
            torch.distributed.all_reduce(total)
        module.model.train()
        return float(total[0] / total[1])


def _trained_parameters(module: CausalModule) -> Iterator[tuple[str, Tensor]]:
    return ((name, parameter) for name, parameter in module.model.named_parameters() if parameter.requires_grad)
