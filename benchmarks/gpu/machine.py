"""What comes before the checks: the machine's GPU and versions, and the tiny model with the CPU's numbers."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import tiny
import torch

from sftdiv.training.resources.flops import peak_flops

PACKAGES = (
    *("torch", "transformers", "pytorch-lightning", "trl", "lm-eval", "peft", "liger-kernel", "flash-attn"),
    *("bitsandbytes", "triton", "datasets", "numpy"),
)


def machine(base: Path, folder: Path, device: str) -> dict[str, Any]:
    """The device, its peak that MFU is divided by, and the versions of the packages."""
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        numbers = {"device": properties.name, "memory_gib": properties.total_memory / 2**30}
        numbers["peak_bf16_tflops"] = peak_flops("cuda", "bf16-mixed") / 1e12
    else:
        numbers = {"device": "cpu", "threads": torch.get_num_threads()}
    for name in PACKAGES:
        try:
            numbers[name] = version(name)
        except PackageNotFoundError:
            numbers[name] = "none"
    return numbers


def reference(base: Path, folder: Path, device: str) -> dict[str, Any]:
    """Write the tiny model, and its losses on the CPU."""
    tiny.make_base(base)
    tiny.write_reference(base, folder)
    steps = tiny.reference(base)["steps"]
    return {"first_loss": steps[0], "last_loss": steps[-1], "steps": len(steps)}
