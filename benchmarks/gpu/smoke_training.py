"""Part (a), training: every setting of a training that a GPU changes, on the tiny model; see `smoke_losses`.

On a CPU the same trainings run in float32.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tiny
import torch

from sftdiv.modeling.checkpoint import load_model
from sftdiv.modeling.loss import token_losses
from sftdiv.records import ModelRef
from sftdiv.training.batching.batches import StepDataset
from sftdiv.training.fine_tune import fine_tune

Numbers = dict[str, Any]


def training(base: Path, folder: Path, device: str, **changes: Any) -> Numbers:
    """A training begins with the loss of the CPU, learns, and leaves a model that can be loaded."""
    if isinstance(changes.get("adapter"), dict):
        changes["adapter"] = replace(tiny.LORA, **changes["adapter"])
    if device == "cpu":
        changes.pop("precision", None)
    record = tiny.train(base, folder, device, **changes)
    expected = tiny.reference(base)["steps"]
    first = abs(record.losses[0] / expected[0] - 1)
    assert changes.get("neftune") or first <= tiny.STEP_ERROR, f"the first loss differs by {first:.2g} from the CPU's"
    assert all(map(math.isfinite, record.losses)), "a loss is not finite"
    assert record.loss < record.losses[0], f"nothing was learned: {record.losses[0]:.3f} to {record.loss:.3f}"
    saved = load_model(folder / "model", dtype="auto")
    numbers = {"first_difference": first, "loss": record.loss, "precision": record.how["precision"]}
    return numbers | {"micro_batch": record.how["micro_batch"], "saved": str(saved.dtype)}


def half_precision_overflow(base: Path, folder: Path, device: str) -> Numbers:
    """With fp16 the loss is scaled, so that small gradients survive; overflowing steps are skipped, not learned."""
    scaled = training(base, folder / "scaled", device, precision="16-mixed")
    record = tiny.train(base, folder / "clipped", device, precision="16-mixed", clip=1e-3)
    assert math.isfinite(record.loss), "clipping comes before unscaling"
    return scaled | {"loss_clipped": record.loss}


def adapter_alone(base: Path, folder: Path, device: str) -> Numbers:
    """An adapter that is saved alone gives the losses of the merged model."""
    means = []
    for merge in (True, False):
        tiny.train(base, folder / str(merge), device, adapter=replace(tiny.LORA, merge=merge))
        model = load_model(folder / str(merge) / "model", dtype=torch.float32, device=device)
        examples = tiny.examples(base)
        step = StepDataset(examples, [""] * len(examples), [np.arange(8)], pad_id=0, micro_batch=8)[0]
        with torch.no_grad():
            inputs = [each.to(device) for each in step.batches[0][1:3]]
            means.append(token_losses(model, *inputs).mean().item())
    assert abs(means[0] / means[1] - 1) <= tiny.BF16_ERROR, f"merged {means[0]:.4f}, alone {means[1]:.4f}"
    return {"merged": means[0], "alone": means[1]}


def automatic_batch(base: Path, folder: Path, device: str) -> Numbers:
    """``train.batch=auto`` takes the whole step where it fits, and halves the micro-batch until it fits."""
    whole = tiny.train(base, folder / "whole", device, micro_batch="auto", batch_size=tiny.COUNT)
    assert whole.how["micro_batch"] == tiny.COUNT, f"{whole.how['micro_batch']} of {tiny.COUNT} conversations"
    if device == "cpu":
        return {"whole": whole.how["micro_batch"]}
    total = torch.cuda.get_device_properties(0).total_memory
    limit = 0.4 * whole.speed.peak_memory_gib * 2**30 / total
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(limit)
    try:
        halved = tiny.train(base, folder / "halved", device, micro_batch="auto", batch_size=tiny.COUNT)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert halved.how["micro_batch"] < tiny.COUNT, "40 % of the memory still took the whole step"
    assert abs(halved.losses[0] / whole.losses[0] - 1) <= tiny.STEP_ERROR, "the cut changes the loss"
    return {"whole": tiny.COUNT, "halved": halved.how["micro_batch"]}


def resumed(base: Path, folder: Path, device: str, *, precision: str = "bf16-mixed") -> Numbers:
    """A training that is broken off resumes from its checkpoint, random states and loss scale included."""
    changes = {} if device == "cpu" else {"precision": precision}
    whole = tiny.train(base, folder / "whole", device, **changes)
    talks = tiny.conversations()
    names = [f"talk-{number}" for number in range(len(talks))]
    config = tiny.settings(device, checkpoint_steps=3, **changes)
    arguments = (ModelRef(str(base)), talks, names, folder / "parts" / "model")
    try:
        fine_tune(*arguments, config=config, seed=tiny.SEED, tracker=_StopAtStep(7))
        raise AssertionError("the tracker should have stopped the training")
    except _Stopped:
        record = fine_tune(*arguments, config=config, seed=tiny.SEED)
    assert record.resumed_at == 6, f"resumed at step {record.resumed_at}"
    difference = abs(record.losses[-1] / whole.losses[-1] - 1)
    assert difference <= tiny.STEP_ERROR, f"the last loss differs by {difference:.2g}"
    return {"resumed_at": record.resumed_at, "difference": difference}


class _Stopped(Exception):  # noqa: N818  # no error: the interruption that is checked
    pass


class _StopAtStep:
    """A tracker that breaks the training off."""

    def __init__(self, step: int) -> None:
        self.step = step

    def log(self, metrics: Any, step: int) -> None:
        """Raise at the step."""
        if step == self.step:
            raise _Stopped

    def samples(self, path: Path) -> None:
        """Ignored."""

    def finish(self, summary: Any, exit_code: int) -> None:
        """Ignored."""
