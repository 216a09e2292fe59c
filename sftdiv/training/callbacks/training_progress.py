"""How fast a training is: tokens a second and the share of the device's arithmetic that it uses (MFU), in a line and in numbers.

In: the steps as they end. Out: a line in the terminal, the numbers of each step for the tracker,
and those of the whole training. Time is taken of steps alone: not of validation, of checkpoints,
and of what comes before the first step.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sftdiv.training.batching.batches import Step
from sftdiv.training.module import CausalModule
from sftdiv.training.resources.flops import Work

log = logging.getLogger(__name__)
SECONDS_BETWEEN_LINES = 60.0  # in a log, where no line can be drawn anew


class Meter(Callback):
    """Counts tokens, floating-point operations and seconds.

    Args:
        work: What a token costs in floating-point operations.
        peak: Operations a second that the devices can do, of all ranks.
    """

    def __init__(self, work: Work, peak: float) -> None:
        self.work, self.peak = work, peak
        self.tokens, self.operations, self.seconds = 0, 0.0, 0.0
        self._started = 0.0

    @property
    def tokens_per_second(self) -> float:
        """Of all steps so far."""
        return self.tokens / self.seconds if self.seconds else 0.0

    @property
    def mfu(self) -> float:
        """Model FLOPs utilization of all steps so far, a share of 1."""
        return self.operations / self.seconds / self.peak if self.seconds else 0.0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Step, batch_idx: int) -> None:
        """Look at the clock."""
        self._started = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: CausalModule, outputs: Any, batch: Step, batch_idx: int
    ) -> None:
        """The step's loss has been read, so that it is over on the device too."""
        seconds, tokens, operations = (
            time.perf_counter() - self._started,
            int(batch.lengths.sum()),
            self.work.of_step(batch.lengths, batch.label_tokens),
        )
        self.tokens, self.operations, self.seconds = (
            self.tokens + tokens,
            self.operations + operations,
            self.seconds + seconds,
        )
        pl_module.measured |= {
            "train.tokens_per_second": tokens / seconds,
            "train.mfu": operations / seconds / self.peak,
        }


class ProgressBar(Callback):
    """One line in the terminal: how far the training is, its loss, tokens a second, MFU and the time left; a log gets one a minute."""

    def __init__(self, title: str, steps: int, meter: Meter) -> None:
        self.title, self.steps, self.meter = title, steps, meter
        told = TextColumn(
            "loss {task.fields[loss]:.3f}  {task.fields[speed]:,.0f} tokens/s  MFU {task.fields[mfu]:.0%}"
        )
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            told,
        )
        console = Console(stderr=True)
        self.progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self.task = self.progress.add_task(title, total=steps, loss=float("nan"), speed=0.0, mfu=0.0)
        self._told = time.monotonic()

    def on_train_start(self, trainer: Trainer, pl_module: CausalModule) -> None:
        """Show the line."""
        self.progress.update(self.task, completed=pl_module.done)
        self.progress.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: CausalModule, outputs: Any, batch: Step, batch_idx: int
    ) -> None:
        """One step further."""
        loss, speed, mfu = pl_module.losses[-1], self.meter.tokens_per_second, self.meter.mfu
        self.progress.update(self.task, completed=pl_module.done, loss=loss, speed=speed, mfu=mfu)
        if self.progress.disable and time.monotonic() - self._told > SECONDS_BETWEEN_LINES:
            self._told = time.monotonic()
            left = self.meter.seconds / max(1, batch_idx + 1) * (self.steps - pl_module.done) / 60
            told = "%s: step %d of %d, loss %.3f, %.0f tokens/s, MFU %.1f %%, %.0f minutes left"
            log.info(told, self.title, pl_module.done, self.steps, loss, speed, 100 * mfu, left)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the line away."""
        self.progress.stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Take the line away, so that the error is read."""
        self.progress.stop()
