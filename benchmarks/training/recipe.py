"""What all sides of the comparison share: the case, its conversations and ids, optimizer, schedule, clock.

The case is a folder that `data.py` has written. Nothing of sftdiv is imported here, so that the peers run
without it.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor

BETAS, WEIGHT_DECAY, CLIP, WARMUP = (0.9, 0.95), 0.01, 1.0, 0.05
TEMPLATE_PROMPT, TEMPLATE_END = "<|user|>{}<|assistant|>", "<|eos|>"  # as in the tokenizer's chat template
Batch = tuple["Tensor", "Tensor", "Tensor | None"]  # ids, labels and, where rows are packed, positions


class Started(Exception):  # noqa: N818  # no error: the end of a run that only measures the start
    """The first step is about to begin."""


@dataclass
class Clock:
    """Seconds until the first step, and wall and processor seconds of all steps, batching included."""

    spawned: float
    only_start: bool = False
    start: float = 0.0
    seconds: float = 0.0
    busy: float = 0.0
    steps: int = 0
    seen: list[Batch] = field(default_factory=list)

    def begin(self) -> None:
        """A step begins; only the first one counts."""
        if not self.start:
            self.start = time.time() - self.spawned
            if self.only_start:
                raise Started
            self._wall, self._processor = time.perf_counter(), time.process_time()

    def end(self) -> None:
        """A step is over."""
        self.seconds, self.busy = time.perf_counter() - self._wall, time.process_time() - self._processor
        self.steps += 1


@dataclass(frozen=True)
class Case:
    """A folder of `data.py`: base model with tokenizer, settings, and conversations as texts with their ids."""

    folder: Path
    settings: dict[str, Any]
    threads: int

    @classmethod
    def read(cls, folder: Path, *, threads: int) -> Case:
        """Read a folder of `data.py`."""
        return cls(folder, json.loads((folder / "case.json").read_text(encoding="utf-8")), threads)

    @property
    def base(self) -> Path:
        """The folder of the model to start from."""
        return self.folder / "base"

    def conversations(self, part: str) -> list[dict[str, Any]]:
        """Conversations of part ``train`` or ``held``: ``prompt``, ``response``, and their ids (end token included)."""
        return [json.loads(line) for line in (self.folder / f"{part}.jsonl").read_text(encoding="utf-8").splitlines()]


def share(step: int, steps: int) -> float:
    """Share of the peak learning rate: linear warm-up, then half a cosine."""
    rise = max(1, round(WARMUP * steps))
    return (step + 1) / rise if step < rise else 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def adamw(model: torch.nn.Module, learning_rate: float) -> torch.optim.AdamW:
    """AdamW in its fused form; matrices decay."""
    import torch

    parameters = list(model.parameters())
    groups = [
        {"params": [parameter for parameter in parameters if parameter.ndim >= 2], "weight_decay": WEIGHT_DECAY},
        {"params": [parameter for parameter in parameters if parameter.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=BETAS, fused=True)
