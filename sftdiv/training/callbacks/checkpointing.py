"""Checkpoints of a running training, from which it resumes to the same result: bit for bit on a CPU.

A checkpoint is a folder ``step-N/`` with the trained weights and optimizer state as torch's
distributed checkpoint in safetensors (each rank writes its own part, and another number of ranks can
read it), the state of each rank's random generators, and ``progress.json``, written last, with the
digests of the other files and of itself. It is written under a hidden name and renamed, and only then is the previous
one removed: a kill at any moment leaves a complete checkpoint. Nothing in it is unpickled, and a
damaged one is not resumed from.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from pytorch_lightning import Callback, LightningModule, Trainer
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from sftdiv.records import SftdivError
from sftdiv.storage.file_digests import sealed_text
from sftdiv.storage.folders import disk_errors_explained
from sftdiv.training.batching.batches import Step
from sftdiv.training.callbacks.checkpoint_files import PROGRESS, digests, latest_checkpoint, read_progress
from sftdiv.training.callbacks.safe_storage import SafetensorsReader, SafetensorsWriter, restore_values, split_values
from sftdiv.training.callbacks.validation import ValidationCallback
from sftdiv.training.module import CausalModule

log = logging.getLogger(__name__)
# `load` itself is strict: every trained weight must be in the checkpoint
TRAINED_ONLY = StateDictOptions(ignore_frozen_params=True, strict=False)
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class CheckpointCallback(Callback):
    """Writes a checkpoint at intervals, and when Ctrl-C or SIGTERM requests the end of the training.

    Args:
        folder: Folder of the checkpoint; created with the first one.
        plan: Digest that identifies this training.
        minutes: Minutes between checkpoints; None for none by the clock.
        steps: Optimizer steps between checkpoints; None for none by number.
        validation: Callback whose losses and best weights belong to the state.
    """

    def __init__(
        self, folder: Path, *, plan: str, minutes: float | None, steps: int | None, validation: ValidationCallback
    ) -> None:
        self.folder, self.plan, self.minutes, self.steps, self.validation = folder, plan, minutes, steps, validation
        self.stopped = False
        self._checkpoint = latest_checkpoint(folder, plan)
        self._signal: int | None = None  # the signal that requested the end
        self._last_saved = time.monotonic()
        self._handlers: dict[int, Any] = {}

    @property
    def done(self) -> int:
        """Completed steps of the checkpoint to resume from; 0 if there is none."""
        return 0 if self._checkpoint is None else int(read_progress(self._checkpoint)["done"])

    @property
    def interrupted(self) -> bool:
        """Whether a signal has requested the end of the training."""
        return self._signal is not None

    def remove(self) -> None:
        """Remove the folder, once the model is saved."""
        if int(os.environ.get("RANK", 0)) == 0:
            shutil.rmtree(self.folder, ignore_errors=True)

    def on_train_start(self, trainer: Trainer, pl_module: CausalModule) -> None:
        """Resume from the checkpoint and install the signal handlers."""
        if self._checkpoint is not None:
            try:
                self._load(trainer, pl_module, self._checkpoint)
            except (ValueError, KeyError, TypeError, SafetensorError, CheckpointException) as error:
                raise SftdivError(
                    f"the checkpoint {self._checkpoint} is no state of this training ({error!r:.200}); remove it, "
                    "and the same command trains from the start"
                ) from error
        if threading.current_thread() is threading.main_thread():
            self._handlers = {number: signal.signal(number, self._handle) for number in SIGNALS}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: CausalModule, outputs: Any, batch: Step, batch_idx: int
    ) -> None:
        """Save at the interval, and stop after a signal; after the last step neither is needed."""
        by_clock = self.minutes is not None and time.monotonic() - self._last_saved > 60 * self.minutes
        by_steps = self.steps is not None and pl_module.done % self.steps == 0
        save_now, stop = self._agree(pl_module, by_clock or by_steps)
        if (save_now or stop) and pl_module.done < pl_module.steps:
            self._save(trainer, pl_module)
            self.stopped = stop
            trainer.should_stop = trainer.should_stop or stop

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the previous signal handlers."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Restore the previous signal handlers."""
        self.on_train_end(trainer, pl_module)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._signal is not None:  # a second signal stops immediately
            raise KeyboardInterrupt
        self._signal = number
        log.warning(
            "%s: the training stops after this step, with a checkpoint; send it again to stop immediately",
            signal.Signals(number).name,
        )

    def _agree(self, module: CausalModule, save_now: bool) -> tuple[bool, bool]:
        """Whether any rank wants to save, and to stop: all ranks write a checkpoint together."""
        if module.ranks == 1:
            return save_now, self.interrupted
        wanted = torch.tensor([save_now, self.interrupted], dtype=torch.int32, device=module.device)
        dist.all_reduce(wanted, op=dist.ReduceOp.MAX)
        return bool(wanted[0]), bool(wanted[1])

    def _save(self, trainer: Trainer, module: CausalModule) -> None:
        checkpoint, temporary = self.folder / f"step-{module.done}", self.folder / f".step-{module.done}"
        is_first_rank = trainer.global_rank == 0
        if is_first_rank:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
        _barrier(module)
        tensors, values = split_values(self._state(trainer, module))
        with _single_process_warning_ignored(), disk_errors_explained(checkpoint):
            save(tensors, storage_writer=SafetensorsWriter(temporary), no_dist=module.ranks == 1)
            save_file(_random_state(), temporary / f"random-{trainer.global_rank}.safetensors")
        _barrier(module)
        if is_first_rank:
            progress = self._progress(trainer, module) | {"values": values, "files": digests(temporary)}
            (temporary / PROGRESS).write_text(sealed_text(progress), encoding="utf-8")
            shutil.rmtree(checkpoint, ignore_errors=True)
            temporary.replace(checkpoint)
            for path in self.folder.glob("*step-*"):
                if path != checkpoint:
                    shutil.rmtree(path, ignore_errors=True)
        _barrier(module)
        self._last_saved = time.monotonic()

    def _load(self, trainer: Trainer, module: CausalModule, checkpoint: Path) -> None:
        progress = read_progress(checkpoint)
        self.validation.losses = [(step, loss) for step, loss in progress["validation"]]
        if self.validation.losses:
            self.validation.keep_best(module)  # allocates the tensors that are read into
        state = self._state(trainer, module)
        tensors, _ = split_values(state)
        with _single_process_warning_ignored():  # reads into the tensors of the state
            load(tensors, storage_reader=SafetensorsReader(checkpoint), no_dist=module.ranks == 1)
        state = restore_values(state, progress["values"])
        set_state_dict(
            module.model,
            trainer.optimizers,
            model_state_dict=state["model"],
            optim_state_dict=state["optimizer"],
            options=TRAINED_ONLY,
        )
        module.losses, module.done = progress["losses"], progress["done"]
        if progress["scaler"]:
            trainer.precision_plugin.load_state_dict(progress["scaler"])
        _restore_random_state(checkpoint / f"random-{trainer.global_rank}.safetensors")
        log.info("resumed at step %d of %d from %s", module.done, module.steps, checkpoint)

    def _state(self, trainer: Trainer, module: CausalModule) -> dict[str, Any]:
        model, optimizer = get_state_dict(module.model, trainer.optimizers, options=TRAINED_ONLY)
        state = {"model": model, "optimizer": optimizer}
        return state | {"best": self.validation.best} if self.validation.best else state

    def _progress(self, trainer: Trainer, module: CausalModule) -> dict[str, Any]:
        return {
            "plan": self.plan,
            "done": module.done,
            "losses": module.losses,
            "validation": self.validation.losses,
            "scaler": trainer.precision_plugin.state_dict(),
        }


@contextmanager
def _single_process_warning_ignored() -> Iterator[None]:
    """Ignore torch's warning that a single process might be a mistake."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield


def _barrier(module: CausalModule) -> None:
    if module.ranks > 1:
        dist.barrier()


def _random_state() -> dict[str, Tensor]:
    state = {"cpu": torch.get_rng_state()}
    return state | {"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else state


def _restore_random_state(path: Path) -> None:
    if not path.exists():  # the checkpoint was written by fewer ranks
        return
    state = load_file(path)
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
