"""The loss on conversations that are not trained on, taken while the training goes on, and the end of it when that loss falls no more.

In: validation steps. Out: the losses with the steps they were taken at; with a patience, the
weights of the best of them. The trade: with a patience those weights take the memory of the trained
parameters once more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from pytorch_lightning import Callback, Trainer
from torch import Tensor

from sftdiv.training.batching.batches import Step, Steps
from sftdiv.training.module import CausalModule


class Validation(Callback):
    """Takes the loss every so many steps and at the end.

    Args:
        steps: The validation examples, once; there may be none.
        every: Optimizer steps between two validations.
        patience: Validations without a better loss before training ends; None never ends it.
    """

    def __init__(self, steps: Steps, *, every: int, patience: int | None) -> None:
        self.steps, self.every, self.patience = steps, every, patience
        self.losses: list[tuple[int, float]] = []
        self.best: dict[str, Tensor] = {}

    @property
    def waited(self) -> int:
        """Validations since the best."""
        values = [loss for _, loss in self.losses]
        return len(values) - 1 - values.index(min(values)) if values else 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: CausalModule, outputs: Any, batch: Step, batch_idx: int
    ) -> None:
        """Validate when it is time."""
        if not len(self.steps) or (pl_module.done % self.every and pl_module.done != pl_module.steps):
            return
        loss = self._loss(pl_module)
        self.losses.append((pl_module.done, loss))
        pl_module.measured["validation.loss"] = loss
        if self.patience is not None:
            if self.waited == 0:
                self.keep_best(pl_module)
            trainer.should_stop = trainer.should_stop or self.waited >= self.patience

    def keep_best(self, module: CausalModule) -> None:
        """Remember the weights as they are; without a patience nothing is remembered."""
        if self.patience is not None:
            self.best = {name: parameter.detach().clone() for name, parameter in _trained(module)}

    def restore_best(self, module: CausalModule) -> None:
        """Put the best weights back; without a patience there are none, and the last stay."""
        with torch.no_grad():
            for name, parameter in _trained(module):
                if name in self.best:
                    parameter.copy_(self.best[name])

    def _loss(self, module: CausalModule) -> float:
        """The mean loss a label token of all ranks, in nats."""
        module.model.eval()
        total = torch.zeros(2, dtype=torch.float64, device=module.device)
        with torch.no_grad(), module.trainer.precision_plugin.forward_context():
            for position in range(len(self.steps)):
                step = module.transfer_batch_to_device(self.steps[position], module.device, 0)
                for batch in step.batches:
                    losses = module.losses_of(batch)
                    total += torch.stack(
                        [losses.double().sum(), torch.tensor(float(len(losses)), device=losses.device)]
                    )
        if module.ranks > 1:
            torch.distributed.all_reduce(total)
        module.model.train()
        return float(total[0] / total[1])


def _trained(module: CausalModule) -> Iterator[tuple[str, Tensor]]:
    return ((name, parameter) for name, parameter in module.model.named_parameters() if parameter.requires_grad)
