"""One way to run a training, for base models and for fine-tuning: Lightning's Trainer, told to be quiet and to leave no files.

In: a model, its steps and the settings of optimizer and hardware. Out: the loss of each step and
the speed; the model is trained in place. On a CPU equal seeds give equal weights to the bit, for a
given number of threads. Where ranks share the work, torchrun has started each of them, and all call
this.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from pytorch_lightning import Callback, Trainer

from sftdiv.protocols import Tracker
from sftdiv.records import SftdivError
from sftdiv.training.batching.batches import Step, StepsModule
from sftdiv.training.callbacks.neftune import EmbeddingNoise
from sftdiv.training.callbacks.training_progress import Meter, ProgressBar
from sftdiv.training.config import OptimizerConfig, TrainerConfig
from sftdiv.training.module import CausalModule
from sftdiv.training.resources.available_memory import peak_memory
from sftdiv.training.resources.flops import Work

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh
    from torch.utils.data import Dataset
    from transformers import PreTrainedModel

LARGE = 10_000_000  # parameters
LESS_MEMORY = (
    "less is needed with train.batch=auto or a smaller number, train.gradient_checkpointing=true, a smaller model.max_length, train=lora, "
    "train=qlora, trainer.precision=bf16-true, or trainer=fsdp over more devices"
)


@dataclass(frozen=True, kw_only=True)
class Speed:
    """How fast the steps of a training were, and what they took: ``peak_memory_gib`` is the device's, on a CPU the process's."""

    seconds: float
    tokens_per_second: float
    mfu: float
    peak_memory_gib: float


def this_rank() -> int:
    """The number of this process among those that torchrun has started; 0 where it has not."""
    return int(os.environ.get("RANK", 0))


def train(
    model: PreTrainedModel,
    steps: Dataset[Step],
    *,
    count: int,
    optimizer: OptimizerConfig,
    hardware: TrainerConfig,
    seed: int,
    title: str,
    tracker: Tracker | None,
    work: Work,
    peak: float,
    first: int = 0,
    shard: Callable[[PreTrainedModel, DeviceMesh], None] | None = None,
    noise: EmbeddingNoise | None = None,
    callbacks: Sequence[Callback] = (),
) -> tuple[CausalModule, Speed]:
    """Train a model in place over all steps.

    Args:
        model: In the precision that it is to be trained in.
        steps: The steps that are left, in their order.
        count: How many there are in all.
        optimizer: Settings of AdamW and its schedule.
        hardware: Where it runs; resolved.
        seed: Of dropout and noise, where there is any.
        title: What the progress bar says.
        tracker: Is told of each step.
        work: What a token costs in floating-point operations.
        peak: Those that the devices can do in a second, over all ranks.
        first: Steps that are done.
        shard: Spreads the model over a device mesh, where it is spread.
        noise: On its embeddings.
        callbacks: Further observers of the steps, called in their order.

    Returns:
        The module, with the mean loss a label token of each step in nats, and the speed.

    Raises:
        SftdivError: A loss is not finite, or the memory does not suffice.
    """
    if hardware.threads is not None:
        torch.set_num_threads(hardware.threads)
    module = CausalModule(
        model.train(),
        steps=count,
        optimizer=optimizer,
        first=first,
        ranks=hardware.ranks,
        shard=shard,
        noise=noise,
        tracker=tracker,
    )
    meter = Meter(work, peak)
    observers = [meter, *callbacks]
    if this_rank() == 0:
        observers.append(ProgressBar(title, count, meter))
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    if hardware.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    elif model.num_parameters() > LARGE:
        _keep_freed_memory()
    with warnings.catch_warnings(), torch.random.fork_rng(), _memory_error():
        warnings.filterwarnings(
            "ignore", module="pytorch_lightning"
        )  # advice on workers and intervals that one process has no use for
        torch.manual_seed(seed + this_rank())
        _trainer(hardware, observers, clip=optimizer.clip).fit(module, datamodule=StepsModule(steps))
    model.eval()
    return module, Speed(
        seconds=meter.seconds,
        tokens_per_second=meter.tokens_per_second,
        mfu=meter.mfu,
        peak_memory_gib=_peak_memory(hardware) / 2**30,
    )


def _trainer(hardware: TrainerConfig, callbacks: list[Callback], *, clip: float) -> Trainer:
    sharded = hardware.strategy == "fsdp" and hardware.ranks > 1
    return Trainer(
        accelerator=hardware.accelerator,
        devices=hardware.devices,
        num_nodes=hardware.nodes,
        strategy=_strategy(hardware, clip),
        precision="32-true" if sharded else hardware.precision,  # a sharded model casts what it gathers, see `shard`
        use_distributed_sampler=False,  # each rank has its own steps
        max_epochs=1,  # the plan of the steps holds the epochs
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )


def _strategy(hardware: TrainerConfig, clip: float) -> Any:
    if hardware.ranks == 1 and hardware.strategy != "deepspeed":
        return "auto"
    if hardware.strategy == "ddp":
        from pytorch_lightning.strategies import DDPStrategy

        return DDPStrategy(gradient_as_bucket_view=True)
    if hardware.strategy == "fsdp":
        from pytorch_lightning.strategies import ModelParallelStrategy

        return ModelParallelStrategy(data_parallel_size=hardware.ranks, tensor_parallel_size=1)
    from pytorch_lightning.strategies import DeepSpeedStrategy

    strategy = DeepSpeedStrategy(stage=3, offload_optimizer=hardware.offload, offload_parameters=hardware.offload)
    strategy.config["gradient_clipping"] = clip
    return strategy


@contextmanager
def _memory_error() -> Iterator[None]:
    """Say what helps where memory runs out."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise SftdivError(
            f"the memory does not suffice ({str(error).splitlines()[0] if str(error) else 'MemoryError'}); {LESS_MEMORY}"
        ) from error
    except RuntimeError as error:
        if "DefaultCPUAllocator" not in str(error):
            raise
        raise SftdivError(
            f"the machine's memory does not suffice ({str(error).splitlines()[0]}); {LESS_MEMORY}"
        ) from error


def _keep_freed_memory() -> None:
    """Let glibc keep what tensors let go, for those of the next step, instead of handing it back and asking the kernel to clear it again.

    Models with tens of millions of parameters are faster with it; up to 60 % more memory is held.
    Small ones gain nothing (LOG.md).
    """
    trim_threshold, most_mapped = -1, -4  # M_TRIM_THRESHOLD, M_MMAP_MAX of malloc.h
    with contextlib.suppress(OSError, AttributeError):  # another C library: nothing to be told
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(trim_threshold, 2**31 - 1)
        libc.mallopt(most_mapped, 0)


def _peak_memory(hardware: TrainerConfig) -> float:
    """Bytes."""
    if hardware.device == "cuda":
        return float(torch.cuda.max_memory_allocated())
    return peak_memory()
