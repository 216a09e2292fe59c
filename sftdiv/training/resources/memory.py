"""Memory of a training per device, estimated before a weight is loaded, and the largest micro-batch that fits.

Input is a model's config, the settings of the training and the available memory. Output is an
estimate in four parts, or a rejection that names the settings that help. Weights, gradients and
optimizer state are counted; activations come from a step that is run without content (`dry_run`).
The estimate is of tensors only, within 4 % of 13 real trainings on a CPU. Allocators take more: on a
CPU a fifth to a third at 135M parameters (`heap`), up to as much again for tiny models, on a GPU some
(not measured). So a rejection can be relied on, and an accepted training may still run out of memory.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from sftdiv.records import SftdivError
from sftdiv.training.config import FineTuningConfig, TrainerConfig, TrainingConfig
from sftdiv.training.resources.available_memory import machine_memory
from sftdiv.training.resources.dry_run import DTYPES, MicroBatchShape, Weights, peak_activations, weigh
from sftdiv.training.resources.memory_advice import memory_advice

if TYPE_CHECKING:
    from transformers import PretrainedConfig

GIB = 2**30
# Share of the memory that an automatic micro-batch may fill: glibc was seen to hold twice the tensors' bytes
FILLED = {"gpu": 0.9, "cpu": 0.5}
# Bytes per number of an 8-bit optimizer: 256 share a scale of 32 bits (Dettmers et al. 2022, arXiv 2110.02861)
OPTIMIZER_8_BIT_BYTES = 1 + 4 / 256


@dataclass(frozen=True, kw_only=True)
class MemoryEstimate:
    """Bytes per device; ``offloaded`` is what each device keeps in the machine's memory instead."""

    parameters: float
    gradients: float
    optimizer: float
    activations: float
    offloaded: float = 0.0

    @property
    def total(self) -> float:
        """Bytes on the device itself."""
        return self.parameters + self.gradients + self.optimizer + self.activations

    def describe(self, available: float | None = None) -> str:
        """The estimate as one line, in GiB, optionally with the available bytes."""
        names = ("parameters", "gradients", "optimizer", "activations")
        parts = ", ".join(f"{name} {gib(getattr(self, name))}" for name in names)
        of_available = "" if available is None else f" of {gib(available)}"
        offloaded = f", plus {gib(self.offloaded)} in the machine's memory" if self.offloaded else ""
        return f"memory per device in GiB: {parts}: {gib(self.total)}{of_available}{offloaded}"


def estimate(model_config: PretrainedConfig, shape: MicroBatchShape, *, config: TrainingConfig) -> MemoryEstimate:
    """Peak memory of a training.

    The gradients of earlier micro-batches are counted in full, so that a step of one micro-batch
    takes somewhat less. A sharded model (ZeRO 3, Rajbhandari et al. 2020, arXiv 1910.02054) holds
    its share of everything, and gathers the weights outside of its layers, the layer in use and the
    next one; the gradients of the layer in use are whole until they are scattered.

    Args:
        model_config: Config of the model.
        shape: Shape of the micro-batch.
        config: Settings of the training, with a resolved trainer.
    """
    trainer, fine_tuning = config.trainer, config.fine_tuning
    dtype, autocast = arithmetic(trainer, fine_tuning)
    activations = peak_activations(model_config, shape, dtype=dtype, autocast=autocast, fine_tuning=fine_tuning)
    weights = weigh(model_config, dtype=_storage_dtype(trainer), adapter=fine_tuning.adapter)
    eight_bit = config.optimizer.name == "adamw_8bit"
    states = 2 * (OPTIMIZER_8_BIT_BYTES * weights.trained_count if eight_bit else weights.trained)
    gathered_size = dtype.itemsize / _storage_dtype(trainer).itemsize
    if trainer.shards_model and trainer.strategy == "deepspeed" and trainer.precision != "32-true":
        # DeepSpeed keeps 16-bit weights and gradients, and master weights in 32 bits
        states = 4 * weights.trained_count + (states if eight_bit else 8 * weights.trained_count)
        weights = weigh(model_config, dtype=torch.bfloat16, adapter=fine_tuning.adapter)
        gathered_size = 1.0
    whole = MemoryEstimate(
        parameters=weights.frozen + weights.trained,
        gradients=weights.trained,
        optimizer=states,
        activations=activations,
    )
    return _per_rank(whole, weights, trainer, gathered_size=gathered_size) if trainer.shards_model else whole


def arithmetic(trainer: TrainerConfig, fine_tuning: FineTuningConfig) -> tuple[torch.dtype, bool]:
    """Type of the weights when they compute, and whether torch casts each operation (autocast)."""
    mixed = trainer.precision in ("bf16-mixed", "16-mixed")
    if trainer.shards_model and mixed:
        return torch.bfloat16, False  # cast when gathered
    return _storage_dtype(trainer), mixed or fine_tuning.quantized


def check_fits(needed: MemoryEstimate, available: float, shape: MicroBatchShape, *, config: TrainingConfig) -> None:
    """Reject a training that cannot fit.

    Args:
        needed: Estimate from `estimate`.
        available: Bytes per device, from `sftdiv.training.resources.available_memory.available`.
        shape: Shape of the micro-batch.
        config: Settings of the training, with a resolved trainer.

    Raises:
        SftdivError: With the numbers, and the settings that reduce them and are not in use yet.
    """
    trainer = config.trainer
    if needed.total > available:
        activations_matter = needed.total - needed.activations <= available
        reason = "" if activations_matter else "; it would not fit without any activations either"
        rows, length = (shape.rows, shape.length) if activations_matter else (1, None)
        raise SftdivError(
            f"the training does not fit: {needed.describe(available)}{reason}. "
            f"{memory_advice(config, rows=rows, length=length)}"
        )
    if needed.offloaded and needed.offloaded * int(trainer.devices) > (free := machine_memory()):
        raise SftdivError(
            f"the training does not fit: trainer.offload=true moves {gib(needed.offloaded)} GiB for each of "
            f"{trainer.devices} devices into the machine's memory, of which {gib(free)} GiB are free. "
            "Settings that need less: more trainer.nodes, train=lora, or trainer.offload=false"
        )


def largest_micro_batch(
    model_config: PretrainedConfig, available: float, step: MicroBatchShape, *, config: TrainingConfig
) -> int:
    """Most rows per micro-batch that leave some memory free, a tenth of a GPU's; activations are linear in the rows.

    Args:
        model_config: Config of the model.
        available: Bytes per device.
        step: Shape of a whole step on one device, an upper bound.
        config: Settings of the training, with a resolved trainer.

    Raises:
        SftdivError: Not even one row fits.
    """
    single_row = replace(step, rows=1)
    needed = estimate(model_config, single_row, config=config)
    check_fits(needed, available, single_row, config=config)
    if step.rows == 1:
        return 1
    per_row = estimate(model_config, replace(step, rows=2), config=config).total - needed.total
    further_rows = (FILLED[config.trainer.accelerator] * available - needed.total) / max(per_row, 1.0)
    return max(1, min(step.rows, 1 + int(further_rows)))


def gib(size: float) -> str:
    """Bytes as GiB with one decimal, small values with three."""
    return f"{size / GIB:.1f}" if size >= 0.1 * GIB or not size else f"{size / GIB:.3f}"


def _storage_dtype(trainer: TrainerConfig) -> torch.dtype:
    return DTYPES[trainer.precision]


def _per_rank(
    whole: MemoryEstimate, weights: Weights, trainer: TrainerConfig, *, gathered_size: float
) -> MemoryEstimate:
    """A rank's share of a sharded training; ``gathered_size`` is the size of a gathered weight over a stored one."""
    shares = [part / trainer.ranks for part in (whole.parameters, whole.gradients, whole.optimizer)]
    parameters, gradients, optimizer = (0.0, 0.0, 0.0) if trainer.offload else shares
    return MemoryEstimate(
        parameters=parameters + gathered_size * (2 * weights.largest_layer + weights.outside),
        gradients=gradients + weights.largest_layer_trained + weights.outside_trained,
        optimizer=optimizer,
        activations=whole.activations,
        offloaded=sum(shares) if trainer.offload else 0.0,
    )
