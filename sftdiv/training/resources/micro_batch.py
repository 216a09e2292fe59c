"""Micro-batch, memory and arithmetic of a training, determined before any weight is loaded.

Input is the model without weights, the longest conversations and the settings. Output is the
micro-batch, the memory estimate and the cost of a step, or a rejection. On a single GPU an
automatic micro-batch is tested with a real pass; elsewhere, and where several ranks would have to
fail together, the estimate decides.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # documented, but not in __all__

from sftdiv.modeling.loss import token_losses
from sftdiv.records import SftdivError
from sftdiv.training.adapters import add_adapter
from sftdiv.training.batching.batches import Batch
from sftdiv.training.batching.conversations import NamedExamples
from sftdiv.training.config import TrainerConfig, TrainingConfig
from sftdiv.training.resources.available_memory import available
from sftdiv.training.resources.dry_run import MicroBatchShape
from sftdiv.training.resources.flops import ModelFlops, model_flops, peak_flops
from sftdiv.training.resources.heap import is_short, return_freed_blocks
from sftdiv.training.resources.memory import check_fits, estimate, largest_micro_batch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ResourcePlan:
    """What a training needs.

    Attributes:
        shape: Shape of the largest micro-batch.
        memory: Memory estimate in words.
        flops: Floating-point operations of the model.
        peak: FLOP/s that all devices can do.
    """

    shape: MicroBatchShape
    memory: str
    flops: ModelFlops
    peak: float


def plan_resources(
    meta_model: PreTrainedModel, examples: NamedExamples, *, config: TrainingConfig, seed: int
) -> ResourcePlan:
    """Estimate a training, and choose its micro-batch if that is automatic.

    Args:
        meta_model: Model without weights; adapters are added to it.
        examples: Training examples.
        config: Settings of the training, with a resolved trainer.
        seed: Only initialises the adapter; any value.

    Raises:
        SftdivError: The training cannot fit.
    """
    trainer, model_config = config.trainer, meta_model.config
    step, memory = _step_shape(examples, config), available(trainer)
    if config.schedule.micro_batch == "auto":
        rows = _rank_0_decides(partial(largest_micro_batch, model_config, memory, step, config=config), trainer.ranks)
    else:
        rows = min(int(config.schedule.micro_batch), step.rows)
    if trainer.strategy == "deepspeed" and rows < step.rows:
        raise SftdivError(
            f"trainer=deepspeed reduces gradients in every pass, so that a step must be one micro-batch: "
            f"train.batch={rows} is below the {step.rows} conversations of a step on each device; use more devices, "
            "a smaller model.finetune.batch_size, or trainer=fsdp"
        )
    shape = replace(step, rows=rows)
    needed = estimate(model_config, shape, config=config)
    check_fits(needed, memory, shape, config=config)
    description = needed.describe(memory)
    if trainer.accelerator == "cpu" and is_short(needed.total, memory) and return_freed_blocks():
        log.info("memory is short: freed memory is returned at once, which takes about 15 % more time")
    log.info("%s, with %d conversations of up to %d tokens per micro-batch", description, rows, shape.length)
    adapter = config.fine_tuning.adapter
    return ResourcePlan(
        shape=shape,
        memory=description,
        flops=model_flops(meta_model if adapter is None else add_adapter(meta_model, adapter, seed=seed)),
        peak=peak_flops(trainer.device, trainer.precision) * trainer.ranks,
    )


def _step_shape(examples: NamedExamples, config: TrainingConfig) -> MicroBatchShape:
    """A whole step on one device as a single micro-batch, every row as long as the longest."""
    rows = -(-config.schedule.batch_size // config.trainer.ranks)
    if config.data.packing:
        return MicroBatchShape(rows, config.data.max_length, config.data.max_length)
    return MicroBatchShape(
        rows,
        max(len(example) for example in examples.examples),
        max(example.label_tokens for example in examples.examples),
    )


def _rank_0_decides(choose: Callable[[], int], ranks: int) -> int:
    """Rank 0's choice on every rank: each sees the memory at another moment, and all must split a step alike."""
    if ranks == 1:
        return choose()
    # the store that torchrun has opened
    store = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)
    if os.environ["RANK"] == "0":
        store.set("sftdiv/micro_batch", str(choose()))
    return int(store.get("sftdiv/micro_batch"))


def probe_micro_batch(
    model: PreTrainedModel, longest_batch: Callable[[int], Batch], *, rows: int, trainer: TrainerConfig
) -> int:
    """Halve the micro-batch until the longest one passes beside the optimizer's state; return its rows.

    Args:
        model: Model on the device where it is trained.
        longest_batch: Micro-batch of a number of rows that takes the most memory.
        rows: Rows to start with.
        trainer: Resolved settings, with one device.

    Raises:
        SftdivError: Not even one row passes.
    """
    while True:
        batch = longest_batch(rows)
        try:
            _pass_once(model, batch, trainer)
            return rows
        except torch.OutOfMemoryError as error:
            if rows == 1:
                length = max(map(sum, batch.lengths))
                raise SftdivError(f"not even one conversation of {length} tokens fits: {error}") from error
            rows //= 2
            log.info("train.batch=auto: out of memory, trying %d", rows)
        finally:
            model.zero_grad(set_to_none=True)
            if trainer.device == "cuda":
                torch.cuda.empty_cache()


def _pass_once(model: PreTrainedModel, batch: Batch, trainer: TrainerConfig) -> None:
    """A forward and a backward pass while the memory of AdamW's state is occupied."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    states = [torch.empty_like(parameter) for parameter in trained for _ in range(2)]
    mixed = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(trainer.precision)
    with torch.autocast(trainer.device, dtype=mixed, enabled=mixed is not None):
        input_ids, labels = batch.input_ids.to(trainer.device), batch.labels.to(trainer.device)
        position_ids = None if batch.position_ids is None else batch.position_ids.to(trainer.device)
        token_losses(model, input_ids, labels, position_ids).sum().backward()
    del states
