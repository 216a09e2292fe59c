"""One way to run a training, for base models and for fine-tuning: Lightning's Trainer, told to be quiet and to leave no files.

In: a model, its steps and the settings of optimizer and hardware. Out: the loss of each step; the model is trained in place.
On a CPU equal seeds give equal weights to the bit, for a given number of threads.
"""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sftdiv.records import SftdivError, Tracker
from sftdiv.training.batches import StepsModule
from sftdiv.training.module import CausalModule
from sftdiv.training.settings import Hardware, Optimizer

if TYPE_CHECKING:
    from torch.utils.data import Dataset
    from transformers import PreTrainedModel

    from sftdiv.training.batches import Step


class ProgressBar(Callback):
    """One line in the terminal: what is trained, how far it is, its loss."""

    def __init__(self, title: str, steps: int) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        console = Console(stderr=True)
        self.progress = Progress(
            *columns, TextColumn("loss {task.fields[loss]:.3f}"), console=console, transient=True, disable=not console.is_terminal
        )
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
        SftdivError: A loss is not finite, or there is no GPU where one is asked for.
    """
    if hardware.accelerator == "gpu" and not torch.cuda.is_available():
        raise SftdivError("trainer.accelerator=gpu, but torch finds no GPU here; use trainer=cpu")
    if hardware.threads is not None:
        torch.set_num_threads(hardware.threads)
    module = CausalModule(model.train(), steps=count, optimizer=optimizer, tracker=tracker)
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
        precision=hardware.precision,
        max_epochs=1,  # the plan of the steps holds the epochs
        callbacks=[progress],
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
