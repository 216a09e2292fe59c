"""sftdiv's own training through its public function, with the settings of its YAML files.

Returns the saved model, loaded again. The clock is called by the one method that computes a step, and by
the tracker that receives the metrics of each step.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipe import CLIP, WARMUP, WEIGHT_DECAY, Case, Clock

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def train(case: Case, clock: Clock, *, seed: int) -> PreTrainedModel:
    """Batches of samples of similar length."""
    return _train(case, clock, seed=seed, packing=False)


def train_packed(case: Case, clock: Clock, *, seed: int) -> PreTrainedModel:
    """Packed rows, whose samples do not attend to each other."""
    return _train(case, clock, seed=seed, packing=True)


def _train(case: Case, clock: Clock, *, seed: int, packing: bool) -> PreTrainedModel:
    import torch
    from transformers import AutoModelForCausalLM

    from sftdiv.records import ModelRef
    from sftdiv.training.config import (
        DataConfig,
        FineTuningConfig,
        OptimizerConfig,
        ScheduleConfig,
        TrainerConfig,
        TrainingConfig,
    )
    from sftdiv.training.fine_tune import fine_tune

    _watch(clock)
    rows, size = case.conversations("train"), case.settings["batch_size"]
    folder = Path(tempfile.mkdtemp()) / "model"
    fine_tune(
        ModelRef(str(case.base)),
        [
            [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row["response"]}]
            for row in rows
        ],
        [row["id"] for row in rows],
        folder,
        config=TrainingConfig(
            data=DataConfig(
                template=None,
                prefer_own=False,
                max_length=case.settings["positions"],
                too_long="truncate",
                packing=packing,
                loss_on="response",
                loss_turns="all",
                max_masked_share=0.0,
                validation=0.0,
            ),
            schedule=ScheduleConfig(
                epochs=1, steps=None, batch_size=size, micro_batch=size, validate_every=0.25, patience=None
            ),
            fine_tuning=FineTuningConfig(
                adapter=None,
                gradient_checkpointing=False,
                neftune=0.0,
                liger=False,
                compile=False,
                attention="auto",
                checkpoint_minutes=10,
                checkpoint_steps=None,
            ),
            optimizer=OptimizerConfig(
                learning_rate=case.settings["learning_rate"], warmup=WARMUP, weight_decay=WEIGHT_DECAY, clip=CLIP
            ),
            trainer=TrainerConfig(accelerator="cpu", devices=1, precision="32-true", threads=case.threads),
        ),
        seed=seed,
        tracker=Watch(clock),
    )
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


class Watch:
    """A tracker that stops the clock at each step."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """A step is over."""
        self.clock.end()

    def samples(self, path: Path) -> None:
        """Ignored."""

    def finish(self, summary: Mapping[str, Any], exit_code: int) -> None:
        """Ignored."""


def _watch(clock: Clock) -> None:
    from sftdiv.training.module import CausalModule

    step = CausalModule.training_step

    def watched(self: CausalModule, batch: Any, position: int) -> Any:
        clock.begin()
        clock.seen.extend((one.input_ids, one.labels, one.position_ids) for one in batch.batches)
        return step(self, batch, position)

    CausalModule.training_step = watched  # type: ignore[method-assign, assignment]
