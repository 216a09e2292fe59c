"""How large a training is before it begins: its memory, its micro-batch, its arithmetic.

In: the model's outline, the longest conversations and the settings. Out: the micro-batch, the
estimate as a line for the log, and the operations of a step; or a refusal, before any weight is
loaded. On a GPU a micro-batch that is left to us is tried out; elsewhere, and where several ranks
would have to fail together, the estimate decides.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # it is there, and documented

from sftdiv.modeling.loss import token_losses
from sftdiv.records import SftdivError
from sftdiv.training.adapters import add_adapter
from sftdiv.training.batching.batches import Batch
from sftdiv.training.batching.conversations import Named
from sftdiv.training.config import DataConfig, FineTuningConfig, ScheduleConfig, TrainerConfig
from sftdiv.training.resources.available_memory import available
from sftdiv.training.resources.flops import Work, peak_flops, work_of
from sftdiv.training.resources.memory import check_fits, estimate, largest_micro_batch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Size:
    """Rows in a micro-batch; the estimated memory in words; a step's operations; and those that all devices can do in a second."""

    micro_batch: int
    memory: str
    work: Work
    peak: float


def size_up(
    outline: PreTrainedModel,
    examples: Named,
    *,
    reading: DataConfig,
    length: ScheduleConfig,
    method: FineTuningConfig,
    optimizer: str,
    hardware: TrainerConfig,
    seed: int,
) -> Size:
    """Estimate a training, and choose its micro-batch where that is left to us.

    Args:
        outline: The model without weights; adapters are put into it.
        examples: What is trained on.
        reading: Whether rows are packed.
        length: The batch and the micro-batch.
        method: How the weights are trained.
        optimizer: ``adamw`` or ``adamw_8bit``.
        hardware: Resolved.
        seed: Any.

    Raises:
        SftdivError: It cannot fit.
    """
    config = outline.config
    longest = reading.max_length if reading.packing else max(len(example) for example in examples.examples)
    labels = longest if reading.packing else max(example.label_tokens for example in examples.examples)
    there, most = available(hardware), -(-length.batch_size // hardware.ranks)
    how: dict[str, Any] = {"hardware": hardware, "method": method, "optimizer": optimizer}
    if length.micro_batch == "auto":
        rows = _agreed(
            partial(largest_micro_batch, config, there, **how, most=most, length=longest, labels=labels), hardware.ranks
        )
    else:
        rows = min(int(length.micro_batch), most)
    if hardware.strategy == "deepspeed" and rows < most:
        raise SftdivError(
            f"trainer=deepspeed spreads gradients with every pass, so that a step must be one: train.batch={rows} is below the {most} "
            "conversations of a step on each device; take more devices, a smaller model.finetune.batch_size, or trainer=fsdp"
        )
    needed = estimate(config, **how, rows=rows, length=longest, labels=labels)
    check_fits(needed, there, **how, rows=rows, length=longest)
    told = needed.describe(there)
    log.info("%s, with %d conversations of up to %d tokens at a time", told, rows, longest)
    trained = outline if method.adapter is None else add_adapter(outline, method.adapter, seed=seed)
    return Size(
        micro_batch=rows,
        memory=told,
        work=work_of(trained),
        peak=peak_flops(hardware.device, hardware.precision) * hardware.ranks,
    )


def _agreed(choose: Callable[[], int], ranks: int) -> int:
    """What rank 0 chooses: each sees memory at another moment, and all must cut a step alike."""
    if ranks == 1:
        return choose()
    store = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)  # torchrun's own
    if os.environ["RANK"] == "0":
        store.set("sftdiv/micro_batch", str(choose()))
    return int(store.get("sftdiv/micro_batch"))


def try_out(model: PreTrainedModel, heaviest: Callable[[int], Batch], *, rows: int, hardware: TrainerConfig) -> int:
    """The most rows, of halves of ``rows``, with which the heaviest micro-batch passes, the optimizer's state counted.

    Args:
        model: On the device where it is trained.
        heaviest: The micro-batch of so many rows that takes the most memory.
        rows: To begin with.
        hardware: Resolved; one device.

    Raises:
        SftdivError: Not even one row passes.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    mixed = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(hardware.precision)
    while True:
        try:
            states = [torch.empty_like(parameter) for parameter in trained for _ in range(2)]  # of AdamW
            with torch.autocast(hardware.device, dtype=mixed, enabled=mixed is not None):
                batch = heaviest(rows)
                ids, labels = batch.input_ids.to(hardware.device), batch.labels.to(hardware.device)
                positions = None if batch.position_ids is None else batch.position_ids.to(hardware.device)
                token_losses(model, ids, labels, positions).sum().backward()  # type: ignore[no-untyped-call]
            return rows
        except torch.OutOfMemoryError as error:
            if rows == 1:
                raise SftdivError(
                    f"not even one conversation of {max(map(sum, batch.lengths))} tokens passes: {error}"
                ) from error
            rows //= 2
            log.info("train.batch=auto: out of memory, trying %d", rows)
        finally:
            model.zero_grad(set_to_none=True)
            states = []  # noqa: F841  # let go, before the next try
            if hardware.device == "cuda":
                torch.cuda.empty_cache()
