"""The training loop of base models and of fine-tuning: Lightning's Trainer, without its messages and files.

Input is a module, its steps and the settings of the trainer; the model is trained in place. On a CPU
equal seeds give equal weights, bit for bit, for a given number of threads. If ranks share the work,
torchrun has started each of them, and all of them call `train`.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from pytorch_lightning import Callback, Trainer

from sftdiv.training.batching.batches import Step, StepDataModule
from sftdiv.training.callbacks.training_progress import ProgressBar, ThroughputMeter
from sftdiv.training.config import TrainerConfig
from sftdiv.training.module import CausalModule
from sftdiv.training.resources.available_memory import peak_memory

if TYPE_CHECKING:
    from torch.utils.data import Dataset

LARGE_MODEL = 10_000_000  # parameters


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Throughput and memory of a training's steps.

    Attributes:
        seconds: Time of all steps.
        tokens_per_second: Throughput.
        mfu: Model FLOPs utilization, in [0, 1]; None where the peak was measured too small.
        peak_memory_gib: Peak memory of the device, on a CPU of the process.
    """

    seconds: float
    tokens_per_second: float
    mfu: float | None
    peak_memory_gib: float


def this_rank() -> int:
    """Number of this process among those that torchrun has started; 0 without torchrun."""
    return int(os.environ.get("RANK", 0))


def train(
    module: CausalModule,
    steps: Dataset[Step],
    *,
    trainer: TrainerConfig,
    seed: int,
    title: str,
    meter: ThroughputMeter,
    callbacks: Sequence[Callback] = (),
) -> Speed:
    """Train a module in place over all steps.

    Args:
        module: Module whose model has the precision that it is trained in.
        steps: Remaining steps, in their order.
        trainer: Resolved settings.
        seed: Seed of dropout and noise.
        title: Title of the progress bar.
        meter: Measures the throughput.
        callbacks: Further callbacks, in calling order.

    Raises:
        SftdivError: A loss is not finite.
    """
    if trainer.threads is not None:
        torch.set_num_threads(trainer.threads)
    module.model.train()
    observers = [meter, *callbacks]
    if this_rank() == 0:
        observers.append(ProgressBar(title, module.steps, meter))
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    if trainer.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    elif module.model.num_parameters() > LARGE_MODEL:
        _keep_freed_memory()
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.filterwarnings("ignore", module="pytorch_lightning")  # advice on workers and logging intervals
        warnings.filterwarnings("ignore", message="The `srun` command is available")  # jobs start without srun as well
        torch.manual_seed(seed + this_rank())
        loop = _lightning_trainer(trainer, observers, clip=module.settings.clip)
        loop.fit(module, datamodule=StepDataModule(steps))
    module.model.eval()
    return Speed(
        seconds=meter.seconds,
        tokens_per_second=meter.tokens_per_second,
        mfu=meter.mfu,
        peak_memory_gib=_peak_bytes(trainer) / 2**30,
    )


def _lightning_trainer(trainer: TrainerConfig, callbacks: list[Callback], *, clip: float) -> Trainer:
    return Trainer(
        accelerator=trainer.accelerator,
        devices=trainer.devices,
        num_nodes=trainer.nodes,
        strategy=_strategy(trainer, clip),
        precision=_lightning_precision(trainer),
        use_distributed_sampler=False,  # each rank has its own steps
        max_epochs=1,  # the plan of the steps includes the epochs
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )


def _lightning_precision(trainer: TrainerConfig) -> Any:
    """Precision that Lightning sets up; ``32-true`` where it has nothing to do.

    A sharded model casts what it gathers (`shard`). With bf16-true the weights are loaded in bf16; Lightning would also
    cast the buffers, and rotary frequencies in bf16 turn the query of position 2,000 by up to four radians.
    """
    sharded = trainer.strategy == "fsdp" and trainer.ranks > 1
    in_bf16 = trainer.precision == "bf16-true" and trainer.strategy != "deepspeed"
    return "32-true" if sharded or in_bf16 else trainer.precision


def _strategy(trainer: TrainerConfig, clip: float) -> Any:
    """Lightning's strategy; with DeepSpeed it clips the gradients by itself."""
    if trainer.ranks == 1 and trainer.strategy != "deepspeed":
        return "auto"
    if trainer.strategy == "ddp":
        from pytorch_lightning.strategies import DDPStrategy

        return DDPStrategy(gradient_as_bucket_view=True)
    if trainer.strategy == "fsdp":
        from pytorch_lightning.strategies import ModelParallelStrategy

        return ModelParallelStrategy(data_parallel_size=trainer.ranks, tensor_parallel_size=1)
    from pytorch_lightning.strategies import DeepSpeedStrategy

    strategy = DeepSpeedStrategy(stage=3, offload_optimizer=trainer.offload, offload_parameters=trainer.offload)
    strategy.config["gradient_clipping"] = clip
    return strategy


def _keep_freed_memory() -> None:
    """Let glibc reuse freed memory for the next step, instead of returning it to the kernel, which clears it.

    Models with tens of millions of parameters are faster with it and take up to 60 % more memory.
    Small models gain nothing (LOG.md).
    """
    trim_threshold, max_mapped = -1, -4  # M_TRIM_THRESHOLD, M_MMAP_MAX of malloc.h
    with contextlib.suppress(OSError, AttributeError):  # another C library
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(trim_threshold, 2**31 - 1)
        libc.mallopt(max_mapped, 0)


def _peak_bytes(trainer: TrainerConfig) -> float:
    return float(torch.cuda.max_memory_allocated()) if trainer.device == "cuda" else peak_memory()
