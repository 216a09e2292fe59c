"""Checkpoints of a training under way, from which it goes on as if nothing had happened: to the bit, on a CPU.

In: the training's module, optimizer and validation after a step. Out: ``step-N/`` in a folder:
trained weights and optimizer state as torch's distributed checkpoint (each rank writes what it
holds, and another number of ranks can read it), the state of each rank's random generators, and
``progress.json``, written last. A checkpoint is written under a hidden name and renamed, and only
then is the one before removed: a kill at any moment leaves one that is whole.
"""

from __future__ import annotations

import json
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
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from sftdiv.training.batching.batches import Step
from sftdiv.training.callbacks.validation import Validation
from sftdiv.training.module import CausalModule

log = logging.getLogger(__name__)
PROGRESS = "progress.json"
TRAINED_ONLY = StateDictOptions(
    ignore_frozen_params=True, strict=False
)  # `load` is strict: what is trained must be there
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Checkpoints(Callback):
    """Keeps one checkpoint: every so many steps or minutes, and when Ctrl-C or SIGTERM asks the training to end.

    Args:
        folder: Where it lies; made when the first is written.
        plan: What tells this training from others.
        minutes: Between two checkpoints; None for none by the clock.
        steps: Between two checkpoints; None for none by number.
        validation: Whose losses and best weights belong to the state.
    """

    def __init__(
        self, folder: Path, *, plan: str, minutes: float | None, steps: int | None, validation: Validation
    ) -> None:
        self.folder, self.plan, self.minutes, self.steps, self.validation = folder, plan, minutes, steps, validation
        self.stopped = False
        self._place = latest(folder, plan)
        self._asked: int | None = None  # the signal that asked for the end
        self._saved = time.monotonic()
        self._handlers: dict[int, Any] = {}

    @property
    def done(self) -> int:
        """Steps that the checkpoint holds; 0 where there is none."""
        return 0 if self._place is None else int(_progress(self._place)["done"])

    @property
    def asked(self) -> bool:
        """Whether a signal has asked for the end."""
        return self._asked is not None

    def remove(self) -> None:
        """Remove the folder, once the model is saved."""
        if int(os.environ.get("RANK", 0)) == 0:
            shutil.rmtree(self.folder, ignore_errors=True)

    def on_train_start(self, trainer: Trainer, pl_module: CausalModule) -> None:
        """Go on from the checkpoint, and listen to signals."""
        if self._place is not None:
            self._load(trainer, pl_module, self._place)
        if threading.current_thread() is threading.main_thread():
            self._handlers = {number: signal.signal(number, self._ask) for number in SIGNALS}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: CausalModule, outputs: Any, batch: Step, batch_idx: int
    ) -> None:
        """Save when it is time, and end when that was asked for; the last step needs neither."""
        by_clock = self.minutes is not None and time.monotonic() - self._saved > 60 * self.minutes
        by_steps = self.steps is not None and pl_module.done % self.steps == 0
        save, stop = self._agree(pl_module, by_clock or by_steps)
        if (save or stop) and pl_module.done < pl_module.steps:
            self._save(trainer, pl_module)
            self.stopped = stop
            trainer.should_stop = trainer.should_stop or stop

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave signals to whoever had them."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave signals to whoever had them."""
        self.on_train_end(trainer, pl_module)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self._asked is not None:  # the second time: at once
            raise KeyboardInterrupt
        self._asked = number
        log.warning(
            "%s: the training ends after this step, with a checkpoint; once more ends it at once",
            signal.Signals(number).name,
        )

    def _agree(self, module: CausalModule, save: bool) -> tuple[bool, bool]:
        """What any rank wants, all do: a checkpoint is written by all of them."""
        if module.ranks == 1:
            return save, self._asked is not None
        wanted = torch.tensor([save, self._asked is not None], dtype=torch.int32, device=module.device)
        dist.all_reduce(wanted, op=dist.ReduceOp.MAX)
        return bool(wanted[0]), bool(wanted[1])

    def _save(self, trainer: Trainer, module: CausalModule) -> None:
        place, temporary = self.folder / f"step-{module.done}", self.folder / f".step-{module.done}"
        first = trainer.global_rank == 0
        if first:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
        _wait(module)
        state = self._state(trainer, module)
        with _alone_is_meant():
            save(state, checkpoint_id=temporary, no_dist=module.ranks == 1)
        _save_random_state(temporary / f"random-{trainer.global_rank}.pt")
        _wait(module)
        if first:
            (temporary / PROGRESS).write_text(json.dumps(self._describe(trainer, module)), encoding="utf-8")
            shutil.rmtree(place, ignore_errors=True)
            temporary.replace(place)
            for other in self.folder.glob("*step-*"):
                if other != place:
                    shutil.rmtree(other, ignore_errors=True)
        _wait(module)
        self._saved = time.monotonic()

    def _load(self, trainer: Trainer, module: CausalModule, place: Path) -> None:
        progress = _progress(place)
        self.validation.losses = [(step, loss) for step, loss in progress["validation"]]
        if self.validation.losses:
            self.validation.keep_best(module)  # which makes room for what is read
        state = self._state(trainer, module)
        with _alone_is_meant():
            load(state, checkpoint_id=place, no_dist=module.ranks == 1)
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
        _load_random_state(place / f"random-{trainer.global_rank}.pt")
        log.info("resumed at step %d of %d from %s", module.done, module.steps, place)

    def _state(self, trainer: Trainer, module: CausalModule) -> dict[str, Any]:
        model, optimizer = get_state_dict(module.model, trainer.optimizers, options=TRAINED_ONLY)
        return {"model": model, "optimizer": optimizer} | (
            {"best": self.validation.best} if self.validation.best else {}
        )

    def _describe(self, trainer: Trainer, module: CausalModule) -> dict[str, Any]:
        scaler = trainer.precision_plugin.state_dict()
        validation = self.validation.losses
        return {
            "plan": self.plan,
            "done": module.done,
            "losses": module.losses,
            "validation": validation,
            "scaler": scaler,
        }


def latest(folder: Path, plan: str) -> Path | None:
    """The newest whole checkpoint of a folder that belongs to the plan, or None."""
    found = sorted(
        (path for path in folder.glob("step-*") if (path / PROGRESS).exists()), key=lambda path: int(path.name[5:])
    )
    return next((path for path in reversed(found) if _progress(path)["plan"] == plan), None)


def _progress(checkpoint: Path) -> dict[str, Any]:
    """What ``progress.json`` says: ``plan``, ``done``, ``losses``, ``validation``, ``scaler``."""
    return dict(json.loads((checkpoint / PROGRESS).read_text(encoding="utf-8")))


@contextmanager
def _alone_is_meant() -> Iterator[None]:
    """Torch warns where there is one process, as if several had been forgotten."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield


def _wait(module: CausalModule) -> None:
    if module.ranks > 1:
        dist.barrier()


def _save_random_state(path: Path) -> None:
    state = {"cpu": torch.get_rng_state()} | ({"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else {})
    torch.save(state, path)


def _load_random_state(path: Path) -> None:
    if not path.exists():  # a rank that was not there when the checkpoint was written
        return
    state = torch.load(path, weights_only=True)
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
