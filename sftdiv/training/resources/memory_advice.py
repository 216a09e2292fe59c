"""Settings that reduce the memory of a training, for the errors that reject one or report that memory ran out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sftdiv.records import SftdivError
from sftdiv.text.lines import first_line
from sftdiv.training.config import TrainingConfig


def memory_advice(config: TrainingConfig, *, rows: int, length: int | None) -> str:
    """Settings that are not in use yet and reduce the memory, cheapest first, as one sentence.

    Args:
        config: Settings of the training, with a resolved trainer.
        rows: Conversations per micro-batch; 1 if fewer would not help.
        length: Tokens per conversation; None if smaller activations would not help.
    """
    trainer, fine_tuning = config.trainer, config.fine_tuning
    gpu, adapter, sharded = trainer.accelerator == "gpu", fine_tuning.adapter, trainer.shards_model
    settings = [
        (rows > 1, f"train.batch below {rows} (or train.batch=auto)"),
        (length is not None and not fine_tuning.gradient_checkpointing, "train.gradient_checkpointing=true"),
        (length is not None, f"model.max_length below {length}"),
        (adapter is None, "train=lora"),
        (gpu and not fine_tuning.quantized, "train=qlora"),
        (gpu and trainer.precision != "bf16-true", "trainer.precision=bf16-true"),
        (gpu and adapter is None and config.optimizer.name == "adamw", "train.optimizer=adamw_8bit"),
        (gpu and not sharded, "trainer=fsdp with more devices"),
        (gpu and sharded, f"more than {trainer.ranks} devices (trainer.devices, trainer.nodes)"),
        (gpu and sharded and not trainer.offload, "trainer.offload=true"),
        (True, "a smaller model"),
    ]
    return "Settings that need less: " + ", ".join(text for applies, text in settings if applies)


@contextmanager
def memory_errors_explained(advice: str) -> Iterator[None]:
    """Raise what torch and Python raise on short memory as an error with advice.

    Raises:
        SftdivError: Memory ran out within the context.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        reason = first_line(error)
        raise SftdivError(f"out of memory ({reason}). {advice}") from error
    except RuntimeError as error:
        if "DefaultCPUAllocator" not in str(error):
            raise
        raise SftdivError(f"out of memory on the machine ({first_line(error)}). {advice}") from error
