"""Part (a), losses: those of the model in the data types and attention kernels of a GPU equal those of the CPU.

A check gets the folder of the tiny model, an empty folder of its own and the device, and returns numbers for the
report. It fails by raising. What it needs (a GPU, a package) stands in `parts`. Everything that a CPU can compute is
computed in the rehearsal too, so that only the kernels are new on the GPU.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tiny
import torch

from sftdiv.modeling.checkpoint import load_model
from sftdiv.modeling.loss import token_losses
from sftdiv.training.batching.batches import StepDataset

FAR_FROM_ERROR = 5  # how much larger the difference by a wrong mask must be than the tolerance


def losses(base: Path, folder: Path, device: str, *, attention: str, packing: bool) -> dict[str, Any]:
    """Losses of the label tokens in the type that the GPU trains in equal those of the CPU, packed or not."""
    numbers: dict[str, Any] = {}
    for dtype, error in ((torch.float32, tiny.FP32_ERROR), (torch.bfloat16, tiny.BF16_ERROR)):
        if attention == "flash_attention_2" and dtype is torch.float32:
            continue
        model = load_model(base, dtype=dtype, device=device, attention=attention)
        differences = _difference(model, base, packing=packing, flat=attention == "flash_attention_2")
        name = str(dtype).removeprefix("torch.")
        numbers |= {f"{name}.{key}": value for key, value in differences.items()}
        assert differences["difference"] <= error, (
            f"{name}: losses differ by {differences['difference']:.2g}, more than {error}"
        )
        if packing:
            assert differences["without_separation"] > FAR_FROM_ERROR * error, "the check could not see a wrong mask"
    return numbers


def _difference(model: Any, base: Path, *, packing: bool, flat: bool) -> dict[str, float]:
    """Mean relative difference from the CPU's losses, and the same if packed examples saw each other."""
    examples, expected = tiny.examples(base), tiny.reference(base)["tokens"]
    names = [str(number) for number in range(len(examples))]
    capacity = tiny.MAX_LENGTH if packing else None
    layout = {"pad_id": 0, "micro_batch": tiny.BATCH, "capacity": capacity, "flat": flat}
    step = StepDataset(examples, names, [np.arange(len(examples))], **layout)[0]
    numbers = {"difference": _relative(model, step.batches, expected, separated=True)}
    if packing:
        numbers["without_separation"] = _relative(model, step.batches, expected, separated=False)
    return numbers


def _relative(model: Any, batches: list[Any], expected: list[list[float]], *, separated: bool) -> float:
    measured, reference = [], []
    for batch in batches:
        positions = batch.position_ids if separated else None
        inputs = [
            None if each is None else each.to(model.device) for each in (batch.input_ids, batch.labels, positions)
        ]
        with torch.no_grad():
            measured.append(token_losses(model, *inputs).float().cpu())
        reference.append(torch.tensor([loss for name in batch.names for loss in expected[int(name)]]))
    return float((torch.cat(measured) - torch.cat(reference)).abs().mean() / torch.cat(reference).mean())
