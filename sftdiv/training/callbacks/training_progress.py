"""Throughput of a training: tokens/s and model FLOPs utilization (MFU), as metrics and as a progress bar.

Only the time of optimizer steps is measured: not validation, checkpoints, or anything before the
first step.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sftdiv.training.batching.batches import Step
from sftdiv.training.module import CausalModule
from sftdiv.training.resources.flops import ModelFlops

log = logging.getLogger(__name__)
SECONDS_BETWEEN_LINES = 60.0  # in a log, where no line can be redrawn


class ThroughputMeter(Callback):
    """Counts tokens, floating-point operations and seconds.

    Args:
        flops: Floating-point operations of the model.
        peak: Peak FLOP/s of the devices of all ranks.
        remeasure: Measures the peak again when training ends; the larger one counts.
    """

    def __init__(self, flops: ModelFlops, peak: float, *, remeasure: Callable[[], float] | None = None) -> None:
        self.flops, self.peak, self._remeasure = flops, peak, remeasure
        self.tokens, self.operations, self.seconds = 0, 0.0, 0.0
        self._started = 0.0

    @property
    def tokens_per_second(self) -> float:
        """Throughput over all steps so far."""
        return self.tokens / self.seconds if self.seconds else 0.0

    @property
    def mfu(self) -> float | None:
        """Model FLOPs utilization over all steps so far, in [0, 1]; None where it exceeds 1: the peak is too small."""
        return self._utilization(self.operations, self.seconds) if self.seconds else 0.0

    def _utilization(self, operations: float, seconds: float) -> float | None:
        share = operations / seconds / self.peak
        return share if share <= 1 else None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Step, batch_idx: int) -> None:
        """Start the clock."""
        self._started = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: CausalModule, outputs: Any, batch: Step, batch_idx: int
    ) -> None:
        """Stop the clock; the step's loss has been read, so that the device has finished it too."""
        seconds = time.perf_counter() - self._started
        tokens = int(batch.lengths.sum())
        operations = self.flops.of_step(batch.lengths, batch.label_tokens)
        self.tokens += tokens
        self.operations += operations
        self.seconds += seconds
        pl_module.measured["train.tokens_per_second"] = tokens / seconds
        mfu = self._utilization(operations, seconds)
        if mfu is not None:
            pl_module.measured["train.mfu"] = mfu

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the peak again."""
        if self._remeasure is not None:
            self.peak = max(self.peak, self._remeasure())


class ProgressBar(Callback):
    """One line in the terminal with progress, loss, tokens/s, MFU and remaining time; in a log, one line per minute."""

    def __init__(self, title: str, steps: int, meter: ThroughputMeter) -> None:
        self.title, self.steps, self.meter = title, steps, meter
        metrics = "loss {task.fields[loss]:.3f}  {task.fields[speed]:,.0f} tokens/s{task.fields[mfu]}"
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn(metrics),
        )
        console = Console(stderr=True)
        self.progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self.task = self.progress.add_task(title, total=steps, loss=float("nan"), speed=0.0, mfu="")
        self._last_logged = time.monotonic()

    def on_train_start(self, trainer: Trainer, pl_module: CausalModule) -> None:
        """Show the line."""
        self.progress.update(self.task, completed=pl_module.done)
        self.progress.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: CausalModule, outputs: Any, batch: Step, batch_idx: int
    ) -> None:
        """Advance by one step."""
        loss, speed = pl_module.losses[-1], self.meter.tokens_per_second
        mfu = "" if self.meter.mfu is None else f"  MFU {self.meter.mfu:.1%}"
        self.progress.update(self.task, completed=pl_module.done, loss=loss, speed=speed, mfu=mfu)
        if self.progress.disable and time.monotonic() - self._last_logged > SECONDS_BETWEEN_LINES:
            self._last_logged = time.monotonic()
            minutes_left = self.meter.seconds / max(1, batch_idx + 1) * (self.steps - pl_module.done) / 60
            message = "%s: step %d of %d, loss %.3f, %.0f tokens/s%s, %.0f min left"
            log.info(message, self.title, pl_module.done, self.steps, loss, speed, mfu, minutes_left)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remove the line."""
        self.progress.stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Remove the line, so that the error is readable."""
        self.progress.stop()
