"""The one LightningModule: a causal language model that learns label tokens.

In: steps. Out: a trained model, and the loss of each step. A step's loss is the sum over its label tokens divided by their number over
all its micro-batches, so that how a step is cut into micro-batches does not matter. Hence manual optimization: a loader's item is a step.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn

from sftdiv.causal.loss import token_losses
from sftdiv.records import SftdivError, Tracker
from sftdiv.training.batches import Step
from sftdiv.training.settings import Optimizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BETAS = (0.9, 0.95)


def learning_rate_share(step: int, *, steps: int, warmup: float) -> float:
    """Share of the peak learning rate: a linear rise over the first ``warmup`` (a share of the steps), then half a cosine to 0."""
    rise = max(1, round(warmup * steps))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


class CausalModule(LightningModule):
    """Trains a model with AdamW, warm-up and a cosine, and tells the tracker of every step."""

    def __init__(self, model: PreTrainedModel, *, steps: int, optimizer: Optimizer, tracker: Tracker | None) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model, self.steps, self.settings, self.tracker = model, steps, optimizer, tracker
        self.losses: list[float] = []

    def configure_optimizers(self) -> Any:
        """AdamW in its fused form, which is also the faster one on a CPU; only matrices decay."""
        parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        groups = [
            {"params": [parameter for parameter in parameters if parameter.ndim >= 2], "weight_decay": self.settings.weight_decay},
            {"params": [parameter for parameter in parameters if parameter.ndim < 2], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=self.settings.learning_rate, betas=BETAS, fused=True)
        share = partial(learning_rate_share, steps=self.steps, warmup=self.settings.warmup)
        return [optimizer], [torch.optim.lr_scheduler.LambdaLR(optimizer, share)]

    def training_step(self, step: Step, position: int) -> Tensor:
        """One optimizer step; gives its mean loss a label token.

        Raises:
            SftdivError: The loss is not finite; names the examples of the micro-batch.
        """
        optimizer, scheduler = self.optimizers(), self.lr_schedulers()
        optimizer.zero_grad()
        total = torch.zeros((), device=self.device)
        for batch in step.batches:
            loss = token_losses(self.model, batch.input_ids, batch.labels).sum() / step.label_tokens
            if not torch.isfinite(loss):
                raise SftdivError(f"the loss is {loss.item()} at step {position} on the examples {', '.join(batch.names)}")
            self.manual_backward(loss)
            total += loss.detach()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)
        self._record(position, total, norm, scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
        return total

    def _record(self, position: int, loss: Tensor, norm: Tensor, learning_rate: float) -> None:
        self.losses.append(loss.item())
        if self.tracker is not None:
            metrics = {"train.loss": self.losses[-1], "train.learning_rate": learning_rate, "train.gradient_norm": norm.item()}
            self.tracker.log(metrics, position)
