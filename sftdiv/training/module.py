"""The LightningModule of every training: a causal language model that is trained on label tokens.

A step's loss is the sum over its label tokens divided by their number over all its micro-batches
and ranks, so that the loss does not depend on how a step is split. Hence manual optimization: an
item of the data loader is a whole step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn

from sftdiv.modeling.loss import token_losses
from sftdiv.protocols import Tracker
from sftdiv.records import SftdivError
from sftdiv.training.batching.batches import Batch, Step
from sftdiv.training.callbacks.neftune import EmbeddingNoise
from sftdiv.training.config import OptimizerConfig

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh
    from transformers import PreTrainedModel

BETAS = (0.9, 0.95)


def learning_rate_share(step: int, *, steps: int, warmup: float, schedule: str = "cosine") -> float:
    """Share of the peak learning rate at a step: a linear rise, then the schedule.

    Args:
        step: Number of the step, from 0.
        steps: Total number of steps.
        warmup: Share of the steps over which the learning rate rises.
        schedule: ``cosine`` (half a cosine to 0), ``linear`` (to 0) or ``constant``.
    """
    rise = max(1, round(warmup * steps))
    if step < rise:
        return (step + 1) / rise
    done = (step - rise) / max(1, steps - rise)
    return {"cosine": 0.5 * (1 + math.cos(math.pi * done)), "linear": 1 - done, "constant": 1.0}[schedule]


class CausalModule(LightningModule):
    """Trains a model with AdamW and a learning-rate schedule, and sends the metrics of every step to the tracker.

    Args:
        model: Model with ``requires_grad`` set on the trained parameters.
        steps: Total number of optimizer steps.
        optimizer: Optimizer settings.
        first: Number of completed steps.
        ranks: Processes that share each step; gradients are averaged over them.
        shard: Shards the model over a device mesh; None keeps it whole.
        noise: Noise on the embeddings; None for none.
        tracker: Receives the metrics of every optimizer step.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        steps: int,
        optimizer: OptimizerConfig,
        first: int = 0,
        ranks: int = 1,
        shard: Callable[[PreTrainedModel, DeviceMesh], None] | None = None,
        noise: EmbeddingNoise | None = None,
        tracker: Tracker | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model, self.steps, self.done, self.settings = model, steps, first, optimizer
        self.ranks, self.shard, self.noise, self.tracker = ranks, shard, noise, tracker
        self.losses: list[float] = []
        self.measured: dict[str, float] = {}  # metrics of the step, completed by callbacks
        self._gradient_norm = 0.0

    def configure_model(self) -> None:
        """Shard the model over the devices."""
        if self.shard is not None:
            self.shard(self.model, self.device_mesh["data_parallel"])
            self.shard = None

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW in its fused form, which is the faster one on a CPU too; only matrices decay."""
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        matrices = [parameter for parameter in trained if parameter.ndim >= 2]
        vectors = [parameter for parameter in trained if parameter.ndim < 2]
        groups = [
            {"params": matrices, "weight_decay": self.settings.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        rate = self.settings.learning_rate
        if self.settings.name == "adamw_8bit":
            from bitsandbytes.optim import AdamW8bit  # `TrainingConfig` has checked that it is installed

            return AdamW8bit(groups, lr=rate, betas=BETAS)
        scaled = self.trainer.precision == "16-mixed"  # a fused AdamW would unscale by itself, after the clipping
        return torch.optim.AdamW(groups, lr=rate, betas=BETAS, fused=not scaled)

    def transfer_batch_to_device(self, batch: Step, device: torch.device, dataloader_idx: int) -> Step:
        """Move only the tensors; Lightning's default would visit every number of the lengths."""
        if device.type == "cpu":
            return batch
        moved = []
        for micro_batch in batch.batches:
            position_ids = micro_batch.position_ids
            on_device = micro_batch._replace(
                input_ids=micro_batch.input_ids.to(device, non_blocking=True),
                labels=micro_batch.labels.to(device, non_blocking=True),
                position_ids=None if position_ids is None else position_ids.to(device, non_blocking=True),
            )
            moved.append(on_device)
        return batch._replace(batches=moved)

    def training_step(self, step: Step, batch_idx: int) -> Tensor:
        """Take one optimizer step; return its mean loss per label token.

        Raises:
            SftdivError: The loss is not finite; names the examples of the micro-batch.
        """
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()
        losses = self.backward_all(step)
        total = torch.stack(losses).sum()
        if self.ranks > 1:
            torch.distributed.all_reduce(total)
        self._check_finite(total, losses, step)
        settings = self.settings
        share = learning_rate_share(self.done, steps=self.steps, warmup=settings.warmup, schedule=settings.schedule)
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * share
        optimizer.step()
        self._record(total, settings.learning_rate * share)
        return total

    def backward_all(self, step: Step) -> list[Tensor]:
        """Accumulate the gradients of a step; return each micro-batch's part of the step's mean loss."""
        losses = []
        for number, batch in enumerate(step.batches, start=1):
            with self._gradient_averaging(last=number == len(step.batches)):
                loss = self.losses_of(batch).sum() / step.label_tokens
                self.manual_backward(loss * self.ranks)
            losses.append(loss.detach())
        return losses

    def losses_of(self, batch: Batch) -> Tensor:
        """Loss of each label token of a micro-batch."""
        if self.noise is not None:
            self.noise.lengths = batch.lengths
        return token_losses(self.model, batch.input_ids, batch.labels, batch.position_ids)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Clip once gradients are complete and unscaled; DeepSpeed clips by itself."""
        if not any(parameter.grad is not None for parameter in self.model.parameters()):
            return
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        norm = nn.utils.clip_grad_norm_(trained, self.settings.clip)
        self._gradient_norm = (norm.full_tensor() if hasattr(norm, "full_tensor") else norm).item()

    @contextmanager
    def _gradient_averaging(self, *, last: bool) -> Iterator[None]:
        """Average the gradients of replicas with the last micro-batch of a step only.

        A sharded model averages with each micro-batch: otherwise every rank would hold all
        gradients from one micro-batch to the next.
        """
        replica: Any = self.trainer.strategy.model if self.ranks > 1 else None
        if hasattr(replica, "require_backward_grad_sync"):  # DistributedDataParallel
            replica.require_backward_grad_sync = last
        yield

    def _check_finite(self, total: Tensor, losses: list[Tensor], step: Step) -> None:
        value = total.item()
        if math.isfinite(value):
            return
        names: list[str] = []
        for loss, batch in zip(losses, step.batches, strict=True):
            if not torch.isfinite(loss):
                names += batch.names
        raise SftdivError(
            f"the loss is {value} at step {self.done} on the examples {', '.join(names) or 'of another rank'}"
        )

    def _record(self, loss: Tensor, learning_rate: float) -> None:
        self.losses.append(loss.item())
        self.measured = {
            "train.loss": self.losses[-1],
            "train.learning_rate": learning_rate,
            "train.gradient_norm": self._gradient_norm,
        }
        self.done += 1

    def on_train_batch_end(self, outputs: Any, batch: Step, batch_idx: int) -> None:
        """Send the metrics to the tracker, after the callbacks have added theirs."""
        if self.tracker is not None:
            self.tracker.log(self.measured, self.done - 1)
