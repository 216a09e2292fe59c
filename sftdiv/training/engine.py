"""One way to run a training, for base models and for fine-tuning: Lightning's Trainer, told to be quiet and to leave no files.

In: a model, its steps and the settings of optimizer and hardware. Out: the loss of each step; the model is trained in place.
On a CPU equal seeds give equal weights to the bit, for a given number of threads.
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sftdiv.records import Tracker
from sftdiv.training.batches import StepsModule
from sftdiv.training.module import CausalModule

if TYPE_CHECKING:
    from torch.utils.data import Dataset
    from transformers import PreTrainedModel

    from sftdiv.training.batches import Step


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """Where a training runs: Lightning's names of accelerator and precision, and threads (None leaves torch's choice)."""

    accelerator: str
    devices: int
    precision: str
    threads: int | None


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """Peak learning rate, share of the steps that warm up, decay of matrices, and the gradient norm to clip at."""

    learning_rate: float
    warmup: float
    weight_decay: float
    clip: float


class ProgressBar(Callback):
    """One line in the terminal: what is trained, how far it is, its loss."""

    def __init__(self, title: str, steps: int) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        self.progress = Progress(*columns, TextColumn("loss {task.fields[loss]:.3f}"), transient=True)
        self.task = self.progress.add_task(title, total=steps, loss=float("nan"))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the line."""
        self.progress.start()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        """One step further."""
        self.progress.update(self.task, advance=1, loss=outputs["loss"].item())

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the line away."""
        self.progress.stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Take the line away, so that the error is read."""
        self.progress.stop()


def train(
    model: PreTrainedModel,
    steps: Dataset[Step],
    *,
    count: int,
    optimizer: Optimizer,
    hardware: Hardware,
    seed: int,
    tracker: Tracker | None,
    title: str,
) -> list[float]:
    """Train a model in place over all steps.

    Args:
        model: In the precision that it is to be trained in.
        steps: The steps in their order.
        count: How many there are.
        optimizer: Settings of AdamW and its schedule.
        hardware: Where it runs.
        seed: Of dropout, where the model has any.
        tracker: Is told of each step.
        title: What the progress bar says.

    Returns:
        The mean loss a label token of each step, in nats.

    Raises:
        SftdivError: A loss is not finite.
    """
    if hardware.threads is not None:
        torch.set_num_threads(hardware.threads)
    module = CausalModule(
        model.train(),
        steps=count,
        learning_rate=optimizer.learning_rate,
        warmup=optimizer.warmup,
        weight_decay=optimizer.weight_decay,
        clip=optimizer.clip,
        tracker=tracker,
    )
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.filterwarnings("ignore", module="pytorch_lightning")  # advice on workers and intervals that one process has no use for
        torch.manual_seed(seed)
        _trainer(hardware, ProgressBar(title, count)).fit(module, datamodule=StepsModule(steps))
    model.eval()
    return module.losses


def _trainer(hardware: Hardware, progress: ProgressBar) -> Trainer:
    return Trainer(
        accelerator=hardware.accelerator,
        devices=hardware.devices,
        precision=hardware.precision,  # type: ignore[arg-type]  # Lightning checks the name
        max_epochs=1,  # the plan of the steps holds the epochs
        callbacks=[progress],
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
