"""Does a training fit? Its memory on each device, before a weight is loaded, and the largest micro-batch for which it does.

In: a model's config, the settings of the training, the memory that there is. Out: an estimate in
four parts, or a refusal that names what helps. Weights, gradients and optimizer are counted;
activations come from a step that is run without content (`dry_run`). This is what tensors take,
within 4 % of 13 real trainings on a CPU. Left out is what allocators hold beside: on a CPU up to as
much again, on a GPU some (not measured). So a refusal can be relied on, and a training that is let
through may still run out of memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from sftdiv.records import SftdivError
from sftdiv.training.config import FineTuningConfig, TrainerConfig
from sftdiv.training.resources.available_memory import machine_memory
from sftdiv.training.resources.dry_run import DTYPES, Weights, peak_activations, weigh

if TYPE_CHECKING:
    from transformers import PretrainedConfig

GIB = 2**30
FILLED = {
    "gpu": 0.9,
    "cpu": 0.5,
}  # of the memory, by a micro-batch that is chosen here: glibc was seen to hold twice what the tensors take
BITS_8 = (
    1 + 4 / 256
)  # bytes a number of an 8-bit optimizer: each 256 share a scale of 32 bits (Dettmers et al. 2022, arXiv 2110.02861)


@dataclass(frozen=True, kw_only=True)
class MemoryEstimate:
    """Bytes on each device; ``offloaded`` is what each device keeps in the machine's memory instead."""

    parameters: float
    gradients: float
    optimizer: float
    activations: float
    offloaded: float = 0.0

    @property
    def total(self) -> float:
        """On the device."""
        return self.parameters + self.gradients + self.optimizer + self.activations

    def describe(self, available: float | None = None) -> str:
        """One line, in GiB; with what there is, where it is given."""
        names = ("parameters", "gradients", "optimizer", "activations")
        parts = ", ".join(f"{name} {gib(getattr(self, name))}" for name in names)
        offloaded = f", and {gib(self.offloaded)} in the machine's" if self.offloaded else ""
        there = "" if available is None else f" of {gib(available)}"
        return f"memory a device in GiB: {parts}: {gib(self.total)}{there}{offloaded}"


def estimate(
    config: PretrainedConfig,
    *,
    hardware: TrainerConfig,
    method: FineTuningConfig,
    optimizer: str,
    rows: int,
    length: int,
    labels: int,
) -> MemoryEstimate:
    """The peak of a training's memory.

    The gradients of earlier micro-batches are counted in full, so that a step of one micro-batch
    takes somewhat less. A sharded model (ZeRO 3, Rajbhandari et al. 2020, arXiv 1910.02054) holds
    its share of everything, and gathers what lies outside of its layers, the layer that computes
    and the one that comes next; that layer's gradients are whole until they are spread.

    Args:
        config: Of the model.
        hardware: Resolved.
        method: How the weights are trained.
        optimizer: ``adamw`` or ``adamw_8bit``.
        rows: Conversations, or packed rows, in a micro-batch.
        length: Tokens of each.
        labels: Label tokens of each.
    """
    dtype, autocast = arithmetic(hardware, method)
    activations = peak_activations(
        config,
        dtype=dtype,
        autocast=autocast,
        adapter=method.adapter,
        attention=method.attention,
        gradient_checkpointing=method.gradient_checkpointing,
        rows=rows,
        length=length,
        labels=labels,
    )
    weights = weigh(config, dtype=_stored(hardware), adapter=method.adapter)
    states = 2 * (BITS_8 * weights.trained_count if optimizer == "adamw_8bit" else weights.trained)
    whole = MemoryEstimate(
        parameters=weights.frozen + weights.trained,
        gradients=weights.trained,
        optimizer=states,
        activations=activations,
    )
    if not _sharded(hardware):
        return whole
    if (
        hardware.strategy == "deepspeed" and hardware.precision != "32-true"
    ):  # 16-bit weights and gradients, master weights in 32 bits
        small = weigh(config, dtype=torch.bfloat16, adapter=method.adapter)
        states = 4 * weights.trained_count + (states if optimizer == "adamw_8bit" else 8 * weights.trained_count)
        whole = MemoryEstimate(
            parameters=small.frozen + small.trained, gradients=small.trained, optimizer=states, activations=activations
        )
        return _shared(whole, small, hardware, compute=1.0)
    return _shared(whole, weights, hardware, compute=dtype.itemsize / _stored(hardware).itemsize)


def arithmetic(hardware: TrainerConfig, method: FineTuningConfig) -> tuple[torch.dtype, bool]:
    """The type that the weights have when they compute, and whether torch casts operation by operation."""
    mixed = hardware.precision in ("bf16-mixed", "16-mixed")
    if _sharded(hardware) and mixed:
        return torch.bfloat16, False  # cast when they are gathered
    quantized = method.adapter is not None and method.adapter.quantize is not None
    return _stored(hardware), mixed or quantized


def check_fits(
    needed: MemoryEstimate,
    available: float,
    *,
    hardware: TrainerConfig,
    method: FineTuningConfig,
    optimizer: str,
    rows: int,
    length: int,
) -> None:
    """Refuse a training that cannot fit.

    Args:
        needed: From `estimate`.
        available: Bytes for each device, from `sftdiv.training.resources.available_memory.available`.
        hardware: Resolved.
        method: How the weights are trained.
        optimizer: ``adamw`` or ``adamw_8bit``.
        rows: Conversations in a micro-batch.
        length: Tokens of each.

    Raises:
        SftdivError: With the numbers, and the settings that lessen them and are not taken yet.
    """
    if needed.total > available:
        fixed = needed.total - needed.activations
        reason = "" if fixed <= available else "; without any activations it would not fit either"
        knobs = _knobs(
            hardware,
            method,
            optimizer,
            rows=rows if fixed <= available else 1,
            length=length if fixed <= available else None,
        )
        raise SftdivError(
            f"the training does not fit: {needed.describe(available)}{reason}. Less is needed with {', '.join(knobs)}"
        )
    if needed.offloaded and needed.offloaded * int(hardware.devices) > (machine := machine_memory()):
        raise SftdivError(
            f"the training does not fit: trainer.offload=true puts {gib(needed.offloaded)} GiB for each of {hardware.devices} devices "
            f"into the machine's memory, of which {gib(machine)} GiB are free. Less is needed with more trainer.nodes, train=lora, or "
            "trainer.offload=false"
        )


def largest_micro_batch(
    config: PretrainedConfig,
    available: float,
    *,
    hardware: TrainerConfig,
    method: FineTuningConfig,
    optimizer: str,
    most: int,
    length: int,
    labels: int,
) -> int:
    """The most rows in a micro-batch that leave some memory free, a tenth of a GPU's; activations are linear in them.

    Args:
        config: Of the model.
        available: Bytes for each device.
        hardware: Resolved.
        method: How the weights are trained.
        optimizer: ``adamw`` or ``adamw_8bit``.
        most: Rows of a whole step on one device.
        length: Tokens of the longest row.
        labels: Its label tokens.

    Raises:
        SftdivError: Not even one row fits.
    """

    def needs(rows: int) -> MemoryEstimate:
        return estimate(
            config, hardware=hardware, method=method, optimizer=optimizer, rows=rows, length=length, labels=labels
        )

    one = needs(1)
    check_fits(one, available, hardware=hardware, method=method, optimizer=optimizer, rows=1, length=length)
    if most == 1:
        return 1
    a_row = needs(2).total - one.total
    return max(1, min(most, 1 + int((FILLED[hardware.accelerator] * available - one.total) / max(a_row, 1.0))))


def gib(size: float) -> str:
    """Bytes as GiB, to a tenth, and small ones to a thousandth."""
    return f"{size / GIB:.1f}" if size >= 0.1 * GIB or not size else f"{size / GIB:.3f}"


def _sharded(hardware: TrainerConfig) -> bool:
    return hardware.strategy in ("fsdp", "deepspeed") and hardware.ranks > 1


def _stored(hardware: TrainerConfig) -> torch.dtype:
    return DTYPES[hardware.precision]


def _shared(whole: MemoryEstimate, weights: Weights, hardware: TrainerConfig, *, compute: float) -> MemoryEstimate:
    """A rank's part; ``compute`` is the size of a gathered weight to that of a stored one."""
    shares = [each / hardware.ranks for each in (whole.parameters, whole.gradients, whole.optimizer)]
    kept = [0.0, 0.0, 0.0] if hardware.offload else shares
    return MemoryEstimate(
        parameters=kept[0] + compute * (2 * weights.largest_layer + weights.outside),
        gradients=kept[1] + weights.largest_layer_trained + weights.outside_trained,
        optimizer=kept[2],
        activations=whole.activations,
        offloaded=sum(shares) if hardware.offload else 0.0,
    )


def _knobs(
    hardware: TrainerConfig, method: FineTuningConfig, optimizer: str, *, rows: int, length: int | None
) -> list[str]:
    """What lessens the memory, the cheapest first; ``length`` None where activations are not what is too much."""
    gpu, adapter = hardware.accelerator == "gpu", method.adapter
    knobs = [
        (rows > 1, f"train.batch below {rows} (or train.batch=auto)"),
        (length is not None and not method.gradient_checkpointing, "train.gradient_checkpointing=true"),
        (length is not None, f"model.max_length below {length}"),
        (adapter is None, "train=lora"),
        (gpu and (adapter is None or adapter.quantize is None), "train=qlora"),
        (gpu and hardware.precision != "bf16-true", "trainer.precision=bf16-true"),
        (gpu and adapter is None and optimizer == "adamw", "train.optimizer=adamw_8bit"),
        (gpu and not _sharded(hardware), "trainer=fsdp with more devices"),
        (gpu and _sharded(hardware), f"more than {hardware.ranks} devices (trainer.devices, trainer.nodes)"),
        (_sharded(hardware) and gpu and not hardware.offload, "trainer.offload=true"),
        (True, "a smaller model"),
    ]
    return [text for holds, text in knobs if holds]
