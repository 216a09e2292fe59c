"""The one LightningModule: a causal language model that learns label tokens.

In: steps. Out: a trained model, and the loss of each step. A step's loss is the sum over its label
tokens divided by their number over all its micro-batches and ranks, so that how a step is cut does
not matter. Hence manual optimization: a loader's item is a step.
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
    """Share of the peak learning rate: a linear rise over the first ``warmup`` (a share of the steps), then what the schedule says.

    Args:
        step: From 0.
        steps: In all.
        warmup: Share of the steps.
        schedule: ``cosine`` (half a cosine to 0), ``linear`` (to 0) or ``constant``.
    """
    rise = max(1, round(warmup * steps))
    if step < rise:
        return (step + 1) / rise
    done = (step - rise) / max(1, steps - rise)
    return {"cosine": 0.5 * (1 + math.cos(math.pi * done)), "linear": 1 - done, "constant": 1.0}[schedule]


class CausalModule(LightningModule):
    """Trains a model with AdamW, warm-up and a schedule, and tells the tracker of every step.

    Args:
        model: What is trained, where its parameters ask for gradients.
        steps: Optimizer steps in all.
        first: Steps that are done.
        optimizer: Its settings.
        ranks: Processes that share each step; gradients are averaged over them.
        shard: Spreads the model over a device mesh, where it is spread.
        noise: On its embeddings.
        tracker: Is told of each step.
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
        self.measured: dict[str, float] = {}  # what callbacks found out about the step, for the tracker
        self._norm = 0.0

    def configure_model(self) -> None:
        """Spread the model over the devices."""
        if self.shard is not None:
            self.shard(self.model, self.device_mesh["data_parallel"])
            self.shard = None

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW in its fused form, which is also the faster one on a CPU; only matrices decay."""
        parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        groups = [
            {
                "params": [parameter for parameter in parameters if parameter.ndim >= 2],
                "weight_decay": self.settings.weight_decay,
            },
            {"params": [parameter for parameter in parameters if parameter.ndim < 2], "weight_decay": 0.0},
        ]
        rate = self.settings.learning_rate
        if self.settings.name == "adamw_8bit":
            from bitsandbytes.optim import AdamW8bit  # the engine has made sure that it is there

            return AdamW8bit(groups, lr=rate, betas=BETAS)
        scaled = self.trainer.precision == "16-mixed"  # a fused AdamW would unscale by itself, after the clipping
        return torch.optim.AdamW(groups, lr=rate, betas=BETAS, fused=not scaled)

    def transfer_batch_to_device(self, batch: Step, device: torch.device, dataloader_idx: int) -> Step:
        """Move tensors only; Lightning's own way looks at every number of the lengths."""
        if device.type == "cpu":
            return batch
        moved = [
            one._replace(**{name: _to(value, device) for name, value in one._asdict().items()}) for one in batch.batches
        ]
        return batch._replace(batches=moved)

    def training_step(self, step: Step, position: int) -> Tensor:
        """One optimizer step; gives its mean loss a label token.

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
        """Add up the gradients of a step; gives each micro-batch's part of the step's mean loss."""
        losses = []
        for number, batch in enumerate(step.batches, start=1):
            with self._averaging(last=number == len(step.batches)):
                loss = self.losses_of(batch).sum() / step.label_tokens
                self.manual_backward(loss * self.ranks)
            losses.append(loss.detach())
        return losses

    def losses_of(self, batch: Batch) -> Tensor:
        """The loss of each label token of a micro-batch."""
        if self.noise is not None:
            self.noise.lengths = batch.lengths
        return token_losses(self.model, batch.input_ids, batch.labels, batch.position_ids)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Clip, where gradients are whole and unscaled; DeepSpeed does it by itself."""
        if not any(parameter.grad is not None for parameter in self.model.parameters()):
            return
        norm = nn.utils.clip_grad_norm_([p for p in self.model.parameters() if p.requires_grad], self.settings.clip)
        self._norm = (norm.full_tensor() if hasattr(norm, "full_tensor") else norm).item()

    @contextmanager
    def _averaging(self, *, last: bool) -> Iterator[None]:
        """Let copies of a model average their gradients with the last micro-batch of a step only.

        A sharded model does so with each: else every rank would hold all of its gradients from one
        micro-batch to the next.
        """
        if self.ranks > 1 and hasattr(
            wrapped := self.trainer.strategy.model, "require_backward_grad_sync"
        ):  # DistributedDataParallel
            wrapped.require_backward_grad_sync = last
        yield

    def _check_finite(self, total: Tensor, losses: list[Tensor], step: Step) -> None:
        value = total.item()
        if math.isfinite(value):
            return
        names = [
            name
            for loss, batch in zip(losses, step.batches, strict=True)
            if not torch.isfinite(loss)
            for name in batch.names
        ]
        raise SftdivError(
            f"the loss is {value} at step {self.done} on the examples {', '.join(names) or 'of another rank'}"
        )

    def _record(self, loss: Tensor, learning_rate: float) -> None:
        self.losses.append(loss.item())
        self.measured = {
            "train.loss": self.losses[-1],
            "train.learning_rate": learning_rate,
            "train.gradient_norm": self._norm,
        }
        self.done += 1

    def on_train_batch_end(self, outputs: Any, batch: Step, batch_idx: int) -> None:
        """Tell the tracker, after the callbacks have added what they measured."""
        if self.tracker is not None:
            self.tracker.log(self.measured, self.done - 1)


def _to(value: Any, device: torch.device) -> Any:
    return value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
